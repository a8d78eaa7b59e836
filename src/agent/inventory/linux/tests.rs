//! The collector over a computer that is a directory.

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::symlink;

use super::*;
use crate::model::DeviceId;
use crate::protocol::InventoryDocument;

struct Computer {
    root: tempfile::TempDir,
    addresses: Vec<Address>,
    rpm: Option<&'static str>,
}

impl Computer {
    fn new() -> Self {
        Self { root: tempfile::tempdir().expect("directory"), addresses: Vec::new(), rpm: None }
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.root.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        path
    }

    fn file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        File::create(self.path(path)).and_then(|mut file| file.write_all(content.as_ref())).expect("file");
        self
    }

    fn files(self, directory: &str, files: &[(&str, &str)]) -> Self {
        files.iter().fold(self, |this, (name, content)| this.file(&format!("{directory}/{name}"), content))
    }

    fn link(self, path: &str, target: &str) -> Self {
        symlink(target, self.path(path)).expect("link");
        self
    }

    fn address(mut self, card: u32, ip: &str, prefix: u8) -> Self {
        let ip: IpAddr = ip.parse().expect("an address");
        self.addresses.push(Address { card, ip, prefix });
        self
    }

    fn sections(&self) -> Vec<Section> {
        let root = self.root.path().to_owned();
        let space = |path: &Path| {
            assert!(path.starts_with(&root), "asked for {}", path.display());
            Some(Space { total: 250 << 30, free: 70 << 30 })
        };
        let rpm = || self.rpm.map(str::to_owned);
        let machine = Machine { root: root.clone(), addresses: self.addresses.clone(), space: &space, rpm: &rpm };
        machine.sections()
    }

    /// The inventory as it is sent, without what is the same in every document and on every processor.
    fn xml(&self) -> String {
        let device_id: DeviceId = "ws042-2024-03-05-09-10-11".parse().expect("a device id");
        let document =
            InventoryDocument { device_id, sections: self.sections(), history: Vec::new(), account: Vec::new() };
        let xml = document.to_xml().replace(super::super::architecture(), "ARCHITECTURE");
        let lines = xml.lines().skip(3).filter(|line| !line.contains("CHECKSUM") && !line.contains("<UUID>"));
        lines
            .take_while(|line| *line != "  </CONTENT>")
            .map(|line| line.trim_start_matches("    ").to_owned() + "\n")
            .collect()
    }

    fn leaves(&self, section: &str) -> Vec<String> {
        let sections = self.sections();
        let sections = sections.iter().filter(|found| found.name == section);
        let text = |(name, value): &(&str, String)| format!("{name}={value}");
        sections.map(|section| section.fields.iter().map(text).collect::<Vec<_>>().join(" ")).collect()
    }

    fn leaf(&self, section: &str, leaf: &str) -> Option<String> {
        let sections = self.sections();
        let found = sections.iter().filter(|found| found.name == section).flat_map(|found| &found.fields);
        found.filter(|(name, _)| *name == leaf).map(|(_, value)| value.clone()).next()
    }
}

#[expect(clippy::too_many_lines, reason = "a whole computer")]
fn workstation() -> Computer {
    let cpu = |number: u8| {
        format!(
            "processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Example CPU @ 3.00GHz\ncpu MHz\t\t: 812.345\n\
             physical id\t: 0\nsiblings\t: 4\ncpu cores\t: 2\nflags\t\t: fpu lm sse\n"
        )
    };
    let cpus = [0, 1, 2, 3].map(cpu).join("\n");
    Computer::new()
        .file("/proc/cpuinfo", cpus)
        .file("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3600000\n")
        .files("/sys/devices/system/cpu/cpu0/cache/index2", &[("level", "2\n"), ("size", "256K\n")])
        .files("/sys/devices/system/cpu/cpu0/cache/index3", &[("level", "3\n"), ("size", "8192K\n")])
        .file("/proc/meminfo", "MemTotal:       24684092 kB\nMemFree: 1 kB\nSwapTotal:       2097148 kB\n")
        .file("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")
        .file("/proc/sys/kernel/hostname", "ws042\n")
        .file("/etc/resolv.conf", "# none\nsearch lab.example other.example\nnameserver 192.0.2.53\nnameserver ::1\n")
        .file(
            "/etc/os-release",
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n",
        )
        .files(
            "/sys/class/dmi/id",
            &[
                ("sys_vendor", "Example & Sons\n"),
                ("product_name", "Model 7\n"),
                ("product_serial", "ABC123\n"),
                ("product_uuid", "4c4c4544-0042-3510-8052-b4c04f4d3132\n"),
                ("bios_vendor", "Firmware Ltd.\n"),
                ("bios_version", "1.2.3\n"),
                ("bios_date", "01/02/2024\n"),
                ("board_name", "0X123\n"),
                ("chassis_type", "10\n"),
                ("chassis_asset_tag", "\n"),
            ],
        )
        .file("/sys/firmware/dmi/tables/DMI", memory_table())
        .file(
            "/proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
             wlan0\t00000000\tFE0200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
             eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
             eth0\t000200C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n",
        )
        .files(
            "/sys/class/net/eth0",
            &[
                ("type", "1\n"),
                ("operstate", "up\n"),
                ("duplex", "full\n"),
                ("address", "02:00:00:00:00:2a\n"),
                ("mtu", "1500\n"),
                ("speed", "1000\n"),
                ("ifindex", "2\n"),
            ],
        )
        .link("/sys/class/net/eth0/device/driver", "../../../../bus/pci/drivers/e1000e")
        .files(
            "/sys/class/net/wlan0",
            &[("type", "1\n"), ("operstate", "down\n"), ("speed", "-1\n"), ("ifindex", "3\n"), ("wireless/x", "")],
        )
        .files("/sys/class/net/lo", &[("type", "772\n"), ("ifindex", "1\n")])
        .address(2, "192.0.2.42", 24)
        .address(2, "fe80::1", 64)
        .files("/sys/block/sda", &[("size", "500118192\n"), ("removable", "0\n")])
        .files(
            "/sys/block/sda/device",
            &[("vendor", "ATA     \n"), ("model", "Example SSD\n"), ("rev", "0001\n"), ("serial", "S1\n")],
        )
        .files("/sys/block/sr0", &[("size", "0\n"), ("device/model", "DVD\n")])
        .files("/sys/block/loop0", &[("size", "100\n")])
        .file(
            "/proc/self/mounts",
            "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /var/lib/bind ext4 rw 0 0\n\
             /dev/sdb1 /media/My\\040Disk vfat rw 0 0\nfiles:/export /mnt nfs rw 0 0\n/dev/loop0 /snap/x squashfs ro 0 0\n",
        )
        .files(
            "/sys/bus/pci/devices/0000:00:02.0",
            &[("vendor", "0x8086\n"), ("device", "0x1234\n"), ("class", "0x030000\n"), ("revision", "0x0b\n")],
        )
        .link("/sys/bus/pci/devices/0000:00:02.0/driver", "../../../bus/pci/drivers/i915")
        .file(
            "/usr/share/misc/pci.ids",
            "# list\n10de  Other\n\t1234  Wrong\n8086  Intel Corporation\n\t1234  Example Graphics\n\t\t1028 1  Sub\n\
             C 03  Display controller\n\t00  VGA compatible controller\n",
        )
        .files(
            "/sys/bus/usb/devices/1-2",
            &[("product", "Keyboard\n"), ("manufacturer", "Keys Inc.\n"), ("serial", "K1\n"), ("bDeviceClass", "00\n")],
        )
        .files("/sys/bus/usb/devices/1-2:1.0", &[("bInterfaceClass", "03\n")])
        .files("/sys/bus/usb/devices/usb1", &[("product", "Host\n")])
        .file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice A.,Room 7,,:/home/alice:/bin/sh\n+::\n")
        .file("/etc/group", "root:x:0:\nsudo:x:27:alice,bob\n")
        .files(
            "/run/systemd/sessions",
            &[
                ("1", "USER=bob\nCLASS=user\nTYPE=tty\nREMOTE=1\nACTIVE=1\n"),
                ("2", "USER=alice\nCLASS=user\nTYPE=wayland\nREMOTE=0\nACTIVE=1\n"),
                ("c1", "USER=gdm\nCLASS=greeter\nTYPE=wayland\nACTIVE=1\n"),
            ],
        )
        .file(
            "/var/lib/dpkg/status",
            "Package: libc6\nStatus: install ok installed\nInstalled-Size: 13001\nArchitecture: amd64\nMulti-Arch: same\n\
             Version: 2.36-9\nDescription: GNU C Library: Shared libraries\n Contains the standard libraries.\n\
             Homepage: https://example.org/libc?a&b\n\n\
             Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
             Package: adduser\nStatus: install ok installed\nArchitecture: all\nVersion: 3.134",
        )
}

/// Two slots, one with 16 GiB, one empty.
fn memory_table() -> Vec<u8> {
    let device = |size: u16, strings: &[u8]| {
        let mut bytes = vec![0; 0x22];
        bytes[0] = 17;
        bytes[1] = 0x22;
        bytes[0x0c..0x0e].copy_from_slice(&size.to_le_bytes());
        (bytes[0x0e], bytes[0x10], bytes[0x11], bytes[0x12]) = (9, 1, 2, 26);
        bytes[0x15..0x17].copy_from_slice(&3200_u16.to_le_bytes());
        bytes[0x18] = 3;
        bytes.extend_from_slice(strings);
        bytes
    };
    let mut table = vec![0, 4, 0, 0, 0, 0];
    table.extend(device(16384, b"DIMM A\0BANK 0\0M123\0\0"));
    table.extend(device(0, b"DIMM B\0\0"));
    table.extend([127, 4, 0, 0, 0, 0]);
    // Behind the end of the table nothing counts.
    table.extend(device(16384, b"DIMM C\0\0"));
    table
}

#[test]
#[expect(clippy::too_many_lines, reason = "a whole document")]
fn a_workstation_as_it_is_sent() {
    insta::assert_snapshot!(workstation().xml(), @r"
    <BIOS>
      <BDATE>01/02/2024</BDATE>
      <BMANUFACTURER>Firmware Ltd.</BMANUFACTURER>
      <BVERSION>1.2.3</BVERSION>
      <MMODEL>0X123</MMODEL>
      <SMANUFACTURER>Example &amp; Sons</SMANUFACTURER>
      <SMODEL>Model 7</SMODEL>
      <SSN>ABC123</SSN>
      <TYPE>Notebook</TYPE>
    </BIOS>
    <CONTROLLERS>
      <DRIVER>i915</DRIVER>
      <MANUFACTURER>Intel Corporation Example Graphics</MANUFACTURER>
      <NAME>VGA compatible controller [0300]</NAME>
      <PCIID>8086:1234</PCIID>
      <PCISLOT>00:02.0</PCISLOT>
      <TYPE>rev 0b</TYPE>
    </CONTROLLERS>
    <CPUS>
      <CORES>2</CORES>
      <CPUARCH>ARCHITECTURE</CPUARCH>
      <CURRENT_SPEED>3600</CURRENT_SPEED>
      <DATA_WIDTH>64</DATA_WIDTH>
      <L2CACHESIZE>256K</L2CACHESIZE>
      <LOGICAL_CPUS>4</LOGICAL_CPUS>
      <MANUFACTURER>Intel</MANUFACTURER>
      <NBSOCKET>1</NBSOCKET>
      <SPEED>3600</SPEED>
      <THREADS>4</THREADS>
      <TYPE>Example CPU @ 3.00GHz</TYPE>
    </CPUS>
    <DOWNLOAD>
      <HISTORY>
      </HISTORY>
    </DOWNLOAD>
    <DRIVES>
      <FILESYSTEM>ext4</FILESYSTEM>
      <FREE>71680</FREE>
      <TOTAL>256000</TOTAL>
      <TYPE>/</TYPE>
      <VOLUMN>/dev/sda1</VOLUMN>
    </DRIVES>
    <DRIVES>
      <FILESYSTEM>vfat</FILESYSTEM>
      <FREE>71680</FREE>
      <TOTAL>256000</TOTAL>
      <TYPE>/media/My Disk</TYPE>
      <VOLUMN>/dev/sdb1</VOLUMN>
    </DRIVES>
    <HARDWARE>
      <ARCH>ARCHITECTURE</ARCH>
      <DEFAULTGATEWAY>192.0.2.1</DEFAULTGATEWAY>
      <DESCRIPTION>ARCHITECTURE/6.1.0-18-amd64</DESCRIPTION>
      <DNS>192.0.2.53/::1</DNS>
      <IPADDR>192.0.2.42</IPADDR>
      <MEMORY>24105</MEMORY>
      <NAME>ws042</NAME>
      <OSCOMMENTS>Debian GNU/Linux 12 (bookworm)</OSCOMMENTS>
      <OSNAME>Debian GNU/Linux 12</OSNAME>
      <OSVERSION>12</OSVERSION>
      <PROCESSORN>1</PROCESSORN>
      <PROCESSORS>3600</PROCESSORS>
      <PROCESSORT>Example CPU @ 3.00GHz</PROCESSORT>
      <SWAP>2047</SWAP>
      <USERID>alice</USERID>
      <VMSYSTEM>Physical</VMSYSTEM>
      <WORKGROUP>lab.example</WORKGROUP>
    </HARDWARE>
    <LOCAL_GROUPS>
      <ID_GROUP>0</ID_GROUP>
      <NAME>root</NAME>
    </LOCAL_GROUPS>
    <LOCAL_GROUPS>
      <ID_GROUP>27</ID_GROUP>
      <MEMBER>alice,bob</MEMBER>
      <NAME>sudo</NAME>
    </LOCAL_GROUPS>
    <LOCAL_USERS>
      <GID>0</GID>
      <HOME>/root</HOME>
      <ID_USER>0</ID_USER>
      <LOGIN>root</LOGIN>
      <NAME>root</NAME>
      <SHELL>/bin/bash</SHELL>
    </LOCAL_USERS>
    <LOCAL_USERS>
      <GID>1000</GID>
      <HOME>/home/alice</HOME>
      <ID_USER>1000</ID_USER>
      <LOGIN>alice</LOGIN>
      <NAME>Alice A.</NAME>
      <SHELL>/bin/sh</SHELL>
    </LOCAL_USERS>
    <MEMORIES>
      <CAPACITY>16384</CAPACITY>
      <CAPTION>DIMM A</CAPTION>
      <DESCRIPTION>DIMM</DESCRIPTION>
      <NUMSLOTS>1</NUMSLOTS>
      <SERIALNUMBER>M123</SERIALNUMBER>
      <SPEED>3200</SPEED>
      <TYPE>DDR4</TYPE>
    </MEMORIES>
    <MEMORIES>
      <CAPACITY>0</CAPACITY>
      <CAPTION>DIMM B</CAPTION>
      <DESCRIPTION>DIMM</DESCRIPTION>
      <NUMSLOTS>2</NUMSLOTS>
      <SPEED>3200</SPEED>
      <TYPE>DDR4</TYPE>
    </MEMORIES>
    <NETWORKS>
      <DESCRIPTION>eth0</DESCRIPTION>
      <DRIVER>e1000e</DRIVER>
      <DUPLEX>Full</DUPLEX>
      <MACADDR>02:00:00:00:00:2a</MACADDR>
      <MTU>1500</MTU>
      <SPEED>1000 Mbps</SPEED>
      <STATUS>Up</STATUS>
      <TYPE>ethernet</TYPE>
      <VIRTUALDEV>0</VIRTUALDEV>
      <IPADDRESS>192.0.2.42</IPADDRESS>
      <IPGATEWAY>192.0.2.1</IPGATEWAY>
      <IPMASK>255.255.255.0</IPMASK>
      <IPSUBNET>192.0.2.0</IPSUBNET>
    </NETWORKS>
    <NETWORKS>
      <DESCRIPTION>eth0</DESCRIPTION>
      <DRIVER>e1000e</DRIVER>
      <DUPLEX>Full</DUPLEX>
      <MACADDR>02:00:00:00:00:2a</MACADDR>
      <MTU>1500</MTU>
      <SPEED>1000 Mbps</SPEED>
      <STATUS>Up</STATUS>
      <TYPE>ethernet</TYPE>
      <VIRTUALDEV>0</VIRTUALDEV>
      <IPADDRESS>fe80::1</IPADDRESS>
      <IPMASK>ffff:ffff:ffff:ffff::</IPMASK>
      <IPSUBNET>fe80::</IPSUBNET>
    </NETWORKS>
    <NETWORKS>
      <DESCRIPTION>wlan0</DESCRIPTION>
      <STATUS>Down</STATUS>
      <TYPE>wifi</TYPE>
      <VIRTUALDEV>1</VIRTUALDEV>
    </NETWORKS>
    <SOFTWARES>
      <ARCHITECTURE>all</ARCHITECTURE>
      <FROM>deb</FROM>
      <NAME>adduser</NAME>
      <VERSION>3.134</VERSION>
    </SOFTWARES>
    <SOFTWARES>
      <ARCHITECTURE>amd64</ARCHITECTURE>
      <COMMENTS>GNU C Library: Shared libraries</COMMENTS>
      <FILESIZE>13313024</FILESIZE>
      <FROM>deb</FROM>
      <NAME>libc6:amd64</NAME>
      <PUBLISHER>https://example.org/libc?a&amp;b</PUBLISHER>
      <VERSION>2.36-9</VERSION>
    </SOFTWARES>
    <STORAGES>
      <DISKSIZE>256060</DISKSIZE>
      <FIRMWARE>0001</FIRMWARE>
      <MANUFACTURER>ATA</MANUFACTURER>
      <MODEL>Example SSD</MODEL>
      <NAME>sda</NAME>
      <SERIALNUMBER>S1</SERIALNUMBER>
      <TYPE>disk</TYPE>
    </STORAGES>
    <STORAGES>
      <MODEL>DVD</MODEL>
      <NAME>sr0</NAME>
      <TYPE>cdrom</TYPE>
    </STORAGES>
    <USBDEVICES>
      <DESCRIPTION>Keyboard</DESCRIPTION>
      <MANUFACTURER>Keys Inc.</MANUFACTURER>
      <SERIAL>K1</SERIAL>
    </USBDEVICES>
    <VIDEOS>
      <CHIPSET>VGA compatible controller</CHIPSET>
      <NAME>Intel Corporation Example Graphics</NAME>
    </VIDEOS>
    ");
}

#[test]
fn an_empty_directory_is_a_computer_about_which_little_is_known() {
    insta::assert_snapshot!(Computer::new().xml(), @r"
    <BIOS>
    </BIOS>
    <DOWNLOAD>
      <HISTORY>
      </HISTORY>
    </DOWNLOAD>
    <HARDWARE>
      <ARCH>ARCHITECTURE</ARCH>
      <DESCRIPTION>ARCHITECTURE</DESCRIPTION>
      <OSNAME>Linux</OSNAME>
    </HARDWARE>
    ");
}

#[test]
fn rpm_is_asked_where_there_is_a_database() {
    let list = "bash\t5.2-1.fc40\tx86_64\t1709630000\t8000\tExample\tThe shell\n\
                gpg-pubkey\t1-2\t(none)\t0\t0\t(none)\tkey\nbroken line\n\
                zlib\t1.3-1\t(none)\tx\ty\t(none)\t(none)\n";
    let computer = Computer { rpm: Some(list), ..Computer::new() };
    assert_eq!(computer.leaves("SOFTWARES"), Vec::<String>::new(), "asked without a database");
    let computer = computer.file("/var/lib/rpm/rpmdb.sqlite", "");
    insta::assert_snapshot!(computer.leaves("SOFTWARES").join("\n"), @r"
    ARCHITECTURE=x86_64 COMMENTS=The shell FILESIZE=8000 FROM=rpm INSTALLDATE=2024/03/05 09:13:20 NAME=bash PUBLISHER=Example VERSION=5.2-1.fc40
    FROM=rpm NAME=zlib VERSION=1.3-1
    ");
}

#[test]
fn the_time_of_a_package_is_that_of_its_list() {
    let computer = workstation().file("/var/lib/dpkg/info/libc6:amd64.list", "/lib\n");
    let list = File::options().write(true).open(computer.path("/var/lib/dpkg/info/libc6:amd64.list")).expect("file");
    list.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_709_630_000)).expect("a time");
    let times: Vec<_> =
        computer.leaves("SOFTWARES").iter().map(|text| text.contains("INSTALLDATE=2024/03/05 09:13:20")).collect();
    assert_eq!(times, [false, true]);
}

#[test]
fn the_machine_id_itself_never_leaves_the_computer() {
    let computer = Computer::new().file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let uuid = computer.leaf("HARDWARE", "UUID").expect("a UUID");
    assert_eq!(uuid.len(), 36);
    assert!(!uuid.to_lowercase().contains("01234567"), "{uuid}");
    assert_eq!(computer.leaf("HARDWARE", "UUID"), Some(uuid), "the next inventory has another");
}

#[test]
fn systems_in_systems_are_told_apart() {
    let firmware = |name: &str| Computer::new().file("/sys/class/dmi/id/product_name", name);
    for (computer, word) in [
        (Computer::new().file("/proc/cpuinfo", "processor : 0\nflags : fpu lm\n"), "Physical"),
        (Computer::new().file("/run/systemd/container", "lxc\n"), "lxc"),
        (Computer::new().file("/.dockerenv", ""), "docker"),
        (firmware("VMware Virtual Platform\n"), "VMware"),
        (firmware("VirtualBox\n"), "VirtualBox"),
        (firmware("Virtual Machine\n").file("/sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n"), "Hyper-V"),
        (Computer::new().file("/proc/cpuinfo", "processor : 0\nflags : fpu hypervisor\n"), "Virtual"),
    ] {
        assert_eq!(computer.leaf("HARDWARE", "VMSYSTEM").as_deref(), Some(word));
    }
}

#[test]
fn an_old_list_of_sessions_is_read_too() {
    let mut record = vec![0; 384];
    record[0] = 7;
    record[44..49].copy_from_slice(b"carol");
    let records = [vec![0; 384], record.clone()].concat();
    let computer = Computer::new().file("/run/utmp", &records);
    assert_eq!(computer.leaf("HARDWARE", "USERID").as_deref(), Some("carol"));
    record.pop();
    assert_eq!(Computer::new().file("/run/utmp", record).leaf("HARDWARE", "USERID"), None);
}

#[test]
fn garbage_in_every_file_is_survived_and_bounded() {
    let paths = [
        "/proc/cpuinfo",
        "/proc/meminfo",
        "/proc/self/mounts",
        "/proc/net/route",
        "/proc/net/ipv6_route",
        "/proc/sys/kernel/hostname",
        "/etc/os-release",
        "/etc/resolv.conf",
        "/etc/passwd",
        "/etc/group",
        "/etc/machine-id",
        "/run/utmp",
        "/run/systemd/sessions/1",
        "/var/lib/dpkg/status",
        "/usr/share/misc/pci.ids",
        "/sys/firmware/dmi/tables/DMI",
        "/sys/class/dmi/id/product_uuid",
        "/sys/class/dmi/id/chassis_type",
        "/sys/class/net/eth0/speed",
        "/sys/class/net/eth0/ifindex",
        "/sys/block/sda/size",
        "/sys/bus/pci/devices/0000:00:02.0/class",
        "/sys/bus/usb/devices/1-2/product",
    ];
    let long = "x".repeat(100_000);
    let kinds: [&[u8]; 7] = [
        b"",
        b"\0\xff\xfe\n:=\t\n\n",
        b"processor: \nprocessor: 1\nPackage: ../../etc/x\nStatus: a b installed\n\nUSER=\x1b[31m\nCLASS=user\n",
        b"99999999999999999999999999999\n",
        b"-1\n",
        b"a\tb\tc\td\te\tf\tg\th\ti\n/dev/x / \\\n::::::\n:::\n",
        long.as_bytes(),
    ];
    for kind in kinds {
        let computer = paths.iter().fold(workstation(), |computer, path| computer.file(path, kind));
        let xml = computer.xml();
        assert!(xml.len() < 20_000, "{} bytes", xml.len());
        let document = format!("<CONTENT>{xml}</CONTENT>");
        crate::protocol::xml::parse(document.as_bytes(), &crate::model::limits::RequestLimits::DEFAULT).expect("XML");
    }
}

#[test]
fn the_checksum_has_the_bit_of_every_section_that_is_sent() {
    // Of ocs-protocol 2.4; sections with the bit 0 are written always.
    let bits = [
        ("HARDWARE", 1),
        ("BIOS", 2),
        ("MEMORIES", 4),
        ("CONTROLLERS", 32),
        ("STORAGES", 256),
        ("DRIVES", 512),
        ("NETWORKS", 4096),
        ("SOUNDS", 16384),
        ("VIDEOS", 32768),
        ("SOFTWARES", 65536),
        ("CPUS", 262_144),
        ("USBDEVICES", 2_097_152),
        ("LOCAL_USERS", 0),
        ("LOCAL_GROUPS", 0),
    ];
    for section in workstation().sections() {
        let bit = bits.iter().find(|(name, _)| *name == section.name).map(|(_, bit)| *bit);
        let bit = bit.unwrap_or_else(|| panic!("{} has no bit", section.name));
        assert_eq!(CHECKSUM & bit, bit, "{}", section.name);
    }
}

// ------------------------------------------------------------------------------------------------ around the computer

/// The base block of an EDID, with a name and a serial number.
fn edid() -> Vec<u8> {
    let mut block = vec![0; 128];
    block[..8].copy_from_slice(&[0, 255, 255, 255, 255, 255, 255, 0]);
    // D, E, L: 4, 5, 12 in five bits each.
    block[8..10].copy_from_slice(&(4_u16 << 10 | 5 << 5 | 0x0c).to_be_bytes());
    block[10..12].copy_from_slice(&0xa0f1_u16.to_le_bytes());
    (block[16], block[17], block[20]) = (7, 33, 0xa5);
    block[0x36..0x48].copy_from_slice(b"\0\0\0\xfc\0Example 27\n  ");
    block[0x48..0x5a].copy_from_slice(b"\0\0\0\xff\0SN0123456789\n");
    block
}

#[test]
fn monitors_are_what_their_edid_says() {
    let computer = Computer::new()
        .file("/sys/class/drm/card0-DP-1/edid", edid())
        .file("/sys/class/drm/card0-HDMI-A-1/edid", "")
        .file("/sys/class/drm/card0/edid", edid())
        .file("/sys/class/drm/card1-eDP-1/edid", &edid()[..100]);
    let expected = ["CAPTION=Example 27 DESCRIPTION=7/2023 MANUFACTURER=Dell SERIAL=SN0123456789 TYPE=Digital"];
    assert_eq!(computer.leaves("MONITORS"), expected);
    let mut plain = edid();
    plain[0x36..0x5a].fill(0);
    (plain[9], plain[12], plain[16], plain[20]) = (0xaa, 5, 255, 0);
    let computer = Computer::new().file("/sys/class/drm/card0-VGA-1/edid", plain);
    assert_eq!(
        computer.leaves("MONITORS"),
        ["CAPTION=DEJ a0f1 DESCRIPTION=2023 MANUFACTURER=DEJ SERIAL=5 TYPE=Analog"]
    );
}

#[test]
fn batteries_are_the_computers_own_and_their_charge_is_not_told() {
    let supply = "/sys/class/power_supply";
    let computer = Computer::new()
        .files(&format!("{supply}/AC"), &[("type", "Mains\n")])
        .files(&format!("{supply}/hidpp_battery_0"), &[("type", "Battery\n"), ("scope", "Device\n")])
        .files(
            &format!("{supply}/BAT0"),
            &[
                ("type", "Battery\n"),
                ("technology", "Li-ion\n"),
                ("cycle_count", "17\n"),
                ("energy_full_design", "57000000\n"),
                ("energy_now", "1\n"),
                ("voltage_min_design", "11520000\n"),
                ("manufacturer", "SMP\n"),
                ("model_name", "DELL 1234\n"),
                ("serial_number", " 42\n"),
            ],
        )
        .files(
            &format!("{supply}/BAT1"),
            &[("type", "Battery\n"), ("charge_full_design", "5000000\n"), ("voltage_min_design", "11400000\n")],
        );
    insta::assert_snapshot!(computer.leaves("BATTERIES").join("\n"), @r"
    CHEMISTRY=Li-ion CYCLES=17 DESCRIPTION=BAT0 DESIGNCAPACITY=57000 mWh DESIGNVOLTAGE=11520 mV MANUFACTURER=SMP NAME=DELL 1234 SERIALNUMBER=42
    DESCRIPTION=BAT1 DESIGNCAPACITY=57000 mWh DESIGNVOLTAGE=11400 mV
    ");
}

#[test]
fn slots_and_ports_are_what_the_firmware_lists() {
    let mut table = vec![9, 0x11, 0, 0, 1, 0xb6, 0x0d, 4, 4, 3, 0];
    table.resize(0x11, 0);
    table.extend(b"SLOT1\0\0");
    table.extend([8, 9, 1, 0, 1, 0, 2, 0x0b, 0x1f]);
    table.extend(b"J3A1\0LAN\0\0");
    let computer = Computer::new().file("/sys/firmware/dmi/tables/DMI", table);
    assert_eq!(computer.leaves("SLOTS"), ["DESCRIPTION=PCI Express 3 x16 DESIGNATION=3 NAME=SLOT1 STATUS=In Use"]);
    assert_eq!(computer.leaves("PORTS"), ["CAPTION=RJ-45 NAME=J3A1 TYPE=Network Port"]);
}

#[test]
fn inputs_are_keyboards_and_what_points() {
    let device = |name: &str, phys: &str, bus: &str, handlers: &str| {
        format!("I: Bus={bus} Vendor=046d Product=c31c\nN: Name=\"{name}\"\nP: Phys={phys}\nH: Handlers={handlers}\n\n")
    };
    let list = [
        device("Power Button", "PNP0C0C/button/input0", "0019", "kbd event0"),
        device("Keys", "usb-0000:00:14.0-2/input0", "0003", "sysrq kbd event3 leds"),
        device("Mouse", "isa0060/serio1/input0", "0011", "mouse0 event4"),
        device("PC Speaker", "isa0061/input0", "0010", "event5"),
        "torn".to_owned(),
    ];
    let computer = Computer::new().file("/proc/bus/input/devices", list.concat());
    insta::assert_snapshot!(computer.leaves("INPUTS").join("\n"), @r"
    CAPTION=Keys DESCRIPTION=Keys INTERFACE=USB TYPE=Keyboard
    CAPTION=Mouse DESCRIPTION=Mouse INTERFACE=PS/2 TYPE=Pointing
    ");
}

#[test]
fn printers_are_the_queues_of_cups_without_passwords() {
    let queues = "# written by cupsd\n<DefaultPrinter Laser>\nUUID urn:x\nInfo Laser & co\nLocation Room 17\n\
                  MakeModel Example LaserJet\nDeviceURI socket://192.0.2.9:9100\nShared Yes\n</DefaultPrinter>\n\
                  <Printer Far>\nDeviceURI smb://ann:se@cret@server/queue\nShared No\n</Printer>\n<Printer Torn>\nInfo x\n";
    let computer = Computer::new().file("/etc/cups/printers.conf", queues);
    insta::assert_snapshot!(computer.leaves("PRINTERS").join("\n"), @r"
    COMMENT=Room 17 DESCRIPTION=Laser & co DRIVER=Example LaserJet NAME=Laser PORT=socket://192.0.2.9:9100 SHARED=1
    NAME=Far PORT=smb://server/queue SHARED=0
    ");
}

#[test]
fn virtual_machines_are_found_without_asking_a_daemon() {
    let domain = |name: &str| {
        format!(
            "<!--\nWARNING: made by a machine\n-->\n<domain type='kvm'><name>{name}</name><uuid>u-{name}</uuid>\
             <memory unit='KiB'>4194304</memory><vcpu placement='static'>2</vcpu></domain>"
        )
    };
    let computer = Computer::new()
        .file("/etc/libvirt/qemu/web.xml", domain("web"))
        .file("/etc/libvirt/qemu/db.xml", domain("db"))
        .file("/etc/libvirt/qemu/torn.xml", "<domain")
        .file("/etc/libvirt/qemu/networks/default.xml", "<network />")
        .file("/run/libvirt/qemu/db.xml", "<domstatus />")
        .file("/proc/77/cmdline", "/usr/bin/qemu-system-x86_64\0-name\0guest=db,debug-threads=on\0-m\0\x34096\0")
        .file("/proc/78/cmdline", "qemu-system-arm\0-name\0board\0-m\0size=2G\0-smp\0\x34,cores=4\0-uuid\0u-1\0")
        .file("/proc/79/cmdline", "vi\0qemu-system-arm\0-name\0no\0")
        .file(
            "/var/lib/docker/containers/0123456789abcdef/config.v2.json",
            r#"{"Name": "/proxy", "State": {"Running": true, "Paused": false}, "Config": {"Image": "nginx:1"}, "ID": "x"}"#,
        )
        .file("/var/lib/docker/containers/fedcba/config.v2.json", "{");
    insta::assert_snapshot!(computer.leaves("VIRTUALMACHINES").join("\n"), @r"
    MEMORY=4096 NAME=db STATUS=running SUBSYSTEM=Libvirt UUID=u-db VCPU=2 VMTYPE=kvm
    MEMORY=4096 NAME=web STATUS=shutdown SUBSYSTEM=Libvirt UUID=u-web VCPU=2 VMTYPE=kvm
    MEMORY=2048 NAME=board STATUS=running SUBSYSTEM=qemu UUID=u-1 VCPU=4 VMTYPE=qemu
    NAME=proxy STATUS=running SUBSYSTEM=Docker Container UUID=0123456789ab VMTYPE=nginx:1
    ");
}

#[test]
fn snaps_and_flatpaks_are_software_too() {
    let app = "/var/lib/flatpak/app/org.example.Draw";
    let computer = Computer::new()
        .file(
            "/snap/hello/current/meta/snap.yaml",
            "name: hello\nversion: '2.10'\nsummary: \"Says: hello\"\napps:\n  version: 9\n",
        )
        .file("/snap/core22/current/meta/snap.yaml", "name: core22\nversion: 20240111\nsummary: |\n  long\n")
        .file("/snap/bin/hello", "")
        .file(
            &format!("{app}/current/active/files/share/metainfo/org.example.Draw.metainfo.xml"),
            "<component><name>Draw</name><summary>Draws</summary><releases><release version=\"1.2\"/>\
             <release version=\"1.1\"/></releases></component>",
        )
        .file("/var/lib/flatpak/app/org.example.Bare/current/active/metadata", "")
        .file("/var/lib/flatpak/app/org.example.Gone/x", "");
    insta::assert_snapshot!(computer.leaves("SOFTWARES").join("\n"), @r"
    COMMENTS=Draws FROM=flatpak NAME=Draw PUBLISHER=org.example.Draw VERSION=1.2
    FROM=snap NAME=core22 VERSION=20240111
    COMMENTS=Says: hello FROM=snap NAME=hello VERSION=2.10
    FROM=flatpak NAME=org.example.Bare PUBLISHER=org.example.Bare
    ");
}

#[test]
fn a_modem_on_pci_is_one() {
    let slot = "/sys/bus/pci/devices/0000:00:1c.0";
    let computer =
        Computer::new().files(slot, &[("vendor", "0x11c1\n"), ("device", "0x0440\n"), ("class", "0x070300\n")]);
    assert_eq!(computer.leaves("MODEMS"), ["DESCRIPTION=Device 0440 NAME=Communication controller TYPE=PCI"]);
}

#[test]
fn every_bit_of_the_collector_is_one_of_the_protocol() {
    let known: u64 = crate::agent::inventory::accepted::BITS.iter().map(|(_, bit)| bit).sum();
    assert_eq!(CHECKSUM & !known, 0);
    assert_eq!(known & !CHECKSUM, 16, "REGISTRY is for Windows");
}
