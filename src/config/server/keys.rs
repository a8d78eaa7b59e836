//! Everything that can be set: names, defaults and meanings, once for all.

/// One thing that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file; a dot is a table.
    pub name: &'static str,
    /// What holds when nobody says anything. Empty: the text of `meaning` says what.
    pub default: &'static str,
    /// What it does, its unit and its bounds.
    pub meaning: &'static str,
}

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key { name: "data_dir", default: ".", meaning: "Directory with the database, the certificates and the tree." },
    Key {
        name: "database",
        default: "dripfeed.db",
        meaning: "A SQLite file (from the data directory), or postgres://USER:PASSWORD@HOST/DATABASE.",
    },
    Key {
        name: "http",
        default: "0.0.0.0:8080",
        meaning: "Address of the HTTP listener: agents and fragments. [::]:8080 takes IPv6 and IPv4; port 0 picks a free one.",
    },
    Key {
        name: "https",
        default: "0.0.0.0:8443",
        meaning: "Address of the HTTPS listener: agents, fragments, info files, console.",
    },
    Key {
        name: "public_name",
        default: "",
        meaning: "Host name or address by which agents reach this server. Default: this machine's full name, else its name.",
    },
    Key {
        name: "tls.certificate",
        default: "",
        meaning: "PEM file with your own certificate and its chain, reloaded on SIGHUP. Default: one from this server's own authority in certs/.",
    },
    Key { name: "tls.key", default: "", meaning: "PEM file with the private key of tls.certificate." },
    Key {
        name: "tcp.congestion",
        default: "auto",
        meaning: "How the kernel paces what is sent: auto (on a machine that is set to BBR, readers within 2 ms are served without its timers; all else as it is set), system (as this machine is set), or a name of sysctl net.ipv4.tcp_available_congestion_control, such as cubic (Linux).",
    },
    Key {
        name: "limits.connections",
        default: "4096",
        meaning: "Connections at a time, both listeners together. 1 to 1000000.",
    },
    Key {
        name: "limits.connections_per_peer",
        default: "1024",
        meaning: "Of these, how many one address (IPv6: one /64) may have. Agents behind one router share an address.",
    },
    Key {
        name: "limits.request_bytes",
        default: "16 MiB",
        meaning: "Bytes of an agent's request as it travels. A full inventory is about 100 KiB.",
    },
    Key {
        name: "limits.body_rate",
        default: "1024",
        meaning: "Bytes per second that a request's body must come with on average, after timeouts.body_grace.",
    },
    Key {
        name: "agents.user_agents",
        default: "any",
        meaning: "Which programs may check in: any, or known: those that name themselves as OCS agents do, dripfeed-agent included.",
    },
    Key {
        name: "groups.refresh",
        default: "15m",
        meaning: "How often groups whose query depends on the time are asked again.",
    },
    Key {
        name: "packages.activate_when_built",
        default: "no",
        meaning: "Whether a package is activated at once when it is built, unless whoever builds it says otherwise: yes or no.",
    },
    Key {
        name: "limits.free_space",
        default: "64 MiB",
        meaning: "With less space on its disks than this, /readyz says that the server is not ready.",
    },
    Key {
        name: "webhooks.targets",
        default: "public",
        meaning: "Where webhooks may go: public, or any: private and loopback addresses, too.",
    },
    Key {
        name: "webhooks.ca_file",
        default: "",
        meaning: "PEM file with the authorities that webhooks trust. Default: this machine's own list.",
    },
    Key {
        name: "mirrors.probe",
        default: "30s",
        meaning: "How often each mirror is asked for a byte of what it holds; one that answered and stops is not offered. off: never.",
    },
    Key {
        name: "wake.rate",
        default: "20",
        meaning: "Computers that are woken in a second, so that they do not all start at once. 1 to 1000.",
    },
    Key {
        name: "wake.ports",
        default: "9,7",
        meaning: "UDP ports that magic packets are sent to, at most 4, between commas.",
    },
    Key { name: "wake.repeats", default: "3", meaning: "How often each magic packet is sent. 1 to 10." },
    Key {
        name: "wake.networks",
        default: "private",
        meaning: "Into which networks of inventories magic packets are sent: private (10.x, 172.16-31.x, 192.168.x), or any. This server's own network always.",
    },
    Key {
        name: "metrics.peers",
        default: "",
        meaning: "Who may read /metrics besides this machine: addresses and ranges between commas, such as 10.1.0.0/24,fd00::7.",
    },
    Key {
        name: "metrics.token",
        default: "",
        meaning: "What they must show, over HTTPS, as Authorization: Bearer TOKEN; 16 characters or more. Without metrics.peers: from anywhere.",
    },
    Key {
        name: "registration.key",
        default: "",
        meaning: "What agents of dripfeed register their own keys with; 16 characters or more, the same in every agent's configuration. Default: only expected names register.",
    },
    Key { name: "timeouts.header", default: "20s", meaning: "Until a request's head is there." },
    Key {
        name: "timeouts.body",
        default: "10m",
        meaning: "Until a request's body is there, however steadily it comes.",
    },
    Key { name: "timeouts.body_grace", default: "20s", meaning: "Until limits.body_rate is looked at." },
    Key { name: "timeouts.idle", default: "75s", meaning: "Between two requests of one connection." },
    Key {
        name: "timeouts.write",
        default: "60s",
        meaning: "While a reader takes nothing. One that acknowledges less than 8 KiB in this time is dropped.",
    },
    Key { name: "timeouts.handshake", default: "10s", meaning: "For a TLS handshake." },
    Key { name: "timeouts.stop", default: "20s", meaning: "For running requests when the server stops." },
    Key {
        name: "log.level",
        default: "info",
        meaning: "off, error, warn, info, debug or trace, or by module: info,dripfeed::access=off.",
    },
    Key { name: "log.format", default: "text", meaning: "text for people, json for collectors." },
    Key {
        name: "settings.DOWNLOAD",
        default: "1",
        meaning: "0 or 1: whether agents download and execute packages at all.",
    },
    Key {
        name: "settings.DOWNLOAD_FRAG_LATENCY",
        default: "10",
        meaning: "Seconds that agents pause after each fragment.",
    },
    Key {
        name: "settings.DOWNLOAD_CYCLE_LATENCY",
        default: "60",
        meaning: "Seconds that agents pause after each cycle.",
    },
    Key {
        name: "settings.DOWNLOAD_PERIOD_LATENCY",
        default: "0",
        meaning: "Seconds that agents pause after each period.",
    },
    Key { name: "settings.DOWNLOAD_PERIOD_LENGTH", default: "10", meaning: "Cycles in a period." },
    Key { name: "settings.DOWNLOAD_TIMEOUT", default: "30", meaning: "Days after which an agent gives a package up." },
    Key {
        name: "settings.DOWNLOAD_EXECUTION_TIMEOUT",
        default: "120",
        meaning: "Minutes after which an agent ends a command that still runs.",
    },
    Key {
        name: "settings.FREQUENCY",
        default: "1",
        meaning: "Days after which an inventory is asked for again; 0 at every contact, -1 never.",
    },
    Key { name: "settings.PROLOG_FREQ", default: "24", meaning: "Hours between two contacts of an agent." },
    Key {
        name: "settings.INVENTORY_ON_STARTUP",
        default: "1",
        meaning: "0 or 1: whether Windows agents check in when their service starts.",
    },
    Key {
        name: "settings.REGISTRY",
        default: "1",
        meaning: "0 or 1: whether Windows agents are asked what `dripfeed registry` lists.",
    },
    Key {
        name: "settings.IPDISCOVER",
        default: "0",
        meaning: "How many computers of each network look who else is in it; 0 is none.",
    },
    Key {
        name: "settings.IPDISCOVER_SWITCH",
        default: "1",
        meaning: "Whether a computer looks round in its network: 0 never, 1 if elected, 2 always.",
    },
    Key {
        name: "settings.IPDISCOVER_LATENCY",
        default: "100",
        meaning: "Milliseconds between two addresses of a network that is looked round in.",
    },
    Key {
        name: "settings.IPDISCOVER_MAX_ALIVE",
        default: "7",
        meaning: "Days of silence after which another computer is elected to look round.",
    },
    Key {
        name: "settings.AUTO_DUPLICATE_LVL",
        default: "15",
        meaning: "What makes a new computer an old one, all of it: the sum of 1 name, 2 serial, 4 MAC, 8 model, 16 UUID; 0 merges nothing.",
    },
    Key {
        name: "settings.STUCK_AFTER",
        default: "3",
        meaning: "Days after which a job that nothing followed needs a person, though its computer was told of it and comes.",
    },
    Key {
        name: "settings.APPROVAL_FROM",
        default: "0",
        meaning: "From how many computers on a deployment waits until others have approved it; 0 asks nobody.",
    },
    Key {
        name: "settings.APPROVAL_COUNT",
        default: "1",
        meaning: "How many others have to approve a deployment that APPROVAL_FROM concerns.",
    },
];
