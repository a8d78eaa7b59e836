-- Times are Unix milliseconds, states are words, digests are bytes. Numbers are never used twice (AUTOINCREMENT), because
-- events refer to them for ever.

-- package: highest number ever given out, whatever became of the row. tree: how often the published tree has changed.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('package', 0), ('tree', 0);

CREATE TABLE packages (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id BETWEEN 1 AND 2147483647),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    os TEXT NOT NULL CHECK (os IN ('linux', 'windows', 'macos')),
    action TEXT NOT NULL CHECK (action IN ('launch', 'execute', 'store')),
    action_text TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority >= 0),
    notify_text TEXT,
    notify_countdown INTEGER,
    notify_can_abort INTEGER NOT NULL CHECK (notify_can_abort IN (0, 1)),
    notify_can_delay INTEGER NOT NULL CHECK (notify_can_delay IN (0, 1)),
    notify_max_delays INTEGER CHECK (notify_max_delays > 0),
    notify_deadline_hours INTEGER CHECK (notify_deadline_hours > 0),
    notify_nobody TEXT NOT NULL CHECK (notify_nobody IN ('run', 'wait')),
    done_text TEXT,
    exit_codes TEXT NOT NULL,
    fragment_count INTEGER NOT NULL CHECK (fragment_count >= 0),
    size INTEGER NOT NULL CHECK (size >= 0),
    md5 BLOB CHECK (length(md5) = 16),
    sha256 BLOB CHECK (length(sha256) = 32),
    state TEXT NOT NULL CHECK (state IN ('building', 'available', 'withdrawn')),
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX packages_by_state ON packages (state, id);
CREATE INDEX packages_by_name ON packages (name, id);

CREATE TABLE fragments (
    package_id INTEGER NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    number INTEGER NOT NULL CHECK (number >= 1),
    size INTEGER NOT NULL CHECK (size >= 0),
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (package_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE activations (
    package_id INTEGER NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    info_location TEXT NOT NULL,
    fragment_location TEXT NOT NULL,
    activated_at INTEGER NOT NULL,
    checked_at INTEGER
) STRICT;

-- name_key is the name in lower case, as Rust makes it: the two databases do not agree on letters beyond ASCII.
CREATE TABLE computers (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    os_name TEXT NOT NULL,
    os_version TEXT NOT NULL,
    architecture TEXT NOT NULL,
    ip_address TEXT NOT NULL,
    peer_address TEXT NOT NULL,
    user_name TEXT NOT NULL,
    serial TEXT NOT NULL,
    model TEXT NOT NULL,
    uuid TEXT NOT NULL,
    workgroup TEXT NOT NULL,
    tag TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    first_contact INTEGER NOT NULL,
    last_contact INTEGER NOT NULL,
    last_inventory INTEGER,
    archived_at INTEGER,
    contacts INTEGER NOT NULL DEFAULT 0,
    contact_gap INTEGER NOT NULL DEFAULT 0,
    agent_key TEXT,
    agent_key_at INTEGER,
    CHECK ((agent_key IS NULL) = (agent_key_at IS NULL))
) STRICT;

CREATE INDEX computers_by_name ON computers (name_key, id);
CREATE INDEX computers_by_contact ON computers (last_contact, id);
-- So few that the rest are counted by taking them off.
CREATE INDEX computers_archived ON computers (id) WHERE archived_at IS NOT NULL;
-- What people type whole.
CREATE INDEX computers_by_ip ON computers (ip_address);
CREATE INDEX computers_by_user ON computers (user_name);
-- What a computer is known again by.
CREATE INDEX computers_by_serial ON computers (serial);
CREATE INDEX computers_by_uuid ON computers (uuid);
-- What many have in common, and a contact does not write: its different texts are read from here.
CREATE INDEX computers_by_os ON computers (os_name);
CREATE INDEX computers_by_os_version ON computers (os_version);
CREATE INDEX computers_by_model ON computers (model);
CREATE INDEX computers_by_tag ON computers (tag);

CREATE TABLE networks (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    ip_address TEXT NOT NULL,
    mac TEXT NOT NULL,
    subnet TEXT NOT NULL,
    mask TEXT NOT NULL,
    PRIMARY KEY (computer_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX networks_by_mac ON networks (mac);
CREATE INDEX networks_by_subnet ON networks (subnet, computer_id);

-- Apart from computers, so that a list of these does not read those.
CREATE TABLE inventory_documents (
    computer_id INTEGER NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    sha256 BLOB NOT NULL,
    document BLOB NOT NULL
) STRICT;

-- A document with the digests of its sections. Apart from the document: what is compared at each inventory is not read
-- or written with it.
CREATE TABLE inventory_sections (
    computer_id INTEGER NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    digests TEXT NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

-- Every title once. digest is that of name, publisher and version: those may be longer than an index takes.
CREATE TABLE software (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 16),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    publisher TEXT NOT NULL,
    version TEXT NOT NULL
) STRICT;

CREATE INDEX software_by_name ON software (name_key, id);

CREATE TABLE computer_software (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    software_id INTEGER NOT NULL REFERENCES software (id),
    PRIMARY KEY (computer_id, software_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX computer_software_by_title ON computer_software (software_id, computer_id);

-- What became another between two inventories. Bounded for each computer.
CREATE TABLE inventory_changes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    section TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('added', 'removed', 'changed')),
    item TEXT NOT NULL,
    field TEXT NOT NULL,
    old_value TEXT NOT NULL,
    new_value TEXT NOT NULL
) STRICT;

CREATE INDEX inventory_changes_by_computer ON inventory_changes (computer_id, id);

-- The administrators' own fields; on the wire fields_<id>. choices: those of a list, one a line. initial: what new computers
-- have. deleted_at: the values are kept for some days, so that it can be taken back.
CREATE TABLE fields (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('text', 'number', 'date', 'yes-no', 'list')),
    choices TEXT NOT NULL,
    initial TEXT NOT NULL,
    position INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

CREATE UNIQUE INDEX fields_by_name ON fields (name_key) WHERE deleted_at IS NULL;

CREATE TABLE computer_fields (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    field_id INTEGER NOT NULL REFERENCES fields (id) ON DELETE CASCADE,
    value TEXT NOT NULL,
    PRIMARY KEY (computer_id, field_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX computer_fields_by_field ON computer_fields (field_id, computer_id);

-- What many computers were given at once, with what each had before, so that it can be taken back for some days. what: tag,
-- field <id> or setting <key>; an empty text is none.
CREATE TABLE mass_changes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    words TEXT NOT NULL,
    undone_at INTEGER
) STRICT;

CREATE TABLE mass_values (
    change_id INTEGER NOT NULL REFERENCES mass_changes (id) ON DELETE CASCADE,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    what TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (change_id, computer_id, what)
) STRICT, WITHOUT ROWID;

CREATE INDEX mass_values_by_computer ON mass_values (computer_id);

-- Who became whom; moved is what an undo needs, as JSON.
CREATE TABLE merges (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    old_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    new_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    reason TEXT NOT NULL,
    moved TEXT NOT NULL,
    undone_at INTEGER
) STRICT;

CREATE INDEX merges_by_old ON merges (old_id, id);
CREATE INDEX merges_by_new ON merges (new_id, id);

-- No reference to packages: an agent's history may name packages of another server.
CREATE TABLE installations (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id INTEGER NOT NULL,
    via TEXT NOT NULL CHECK (via IN ('history', 'job')),
    known_since INTEGER NOT NULL,
    PRIMARY KEY (computer_id, package_id, via)
) STRICT, WITHOUT ROWID;

CREATE INDEX installations_by_package ON installations (package_id, computer_id);

-- What many computers are meant by, and how many others have to agree. upto: nobody is asked as long as it reaches fewer
-- computers than that. given: votes that count. let_go_at: since when nothing waits for it.
CREATE TABLE approvals (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    reach INTEGER NOT NULL,
    upto INTEGER,
    needed INTEGER NOT NULL CHECK (needed > 0),
    given INTEGER NOT NULL,
    let_go_at INTEGER
) STRICT;

CREATE INDEX approvals_waiting ON approvals (id) WHERE let_go_at IS NULL;

-- voided_at: when the account was locked out or deleted before the approval was complete.
CREATE TABLE approval_votes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    approval_id INTEGER NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    via TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'rejected', 'released')),
    reason TEXT NOT NULL,
    voided_at INTEGER
) STRICT;

CREATE INDEX approval_votes_by_approval ON approval_votes (approval_id, id);
CREATE INDEX approval_votes_by_account ON approval_votes (account, id);

CREATE TABLE deployments (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    package_id INTEGER NOT NULL REFERENCES packages (id),
    all_computers INTEGER NOT NULL CHECK (all_computers IN (0, 1)),
    force INTEGER NOT NULL CHECK (force IN (0, 1)),
    schedule TEXT,
    post_command TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    cancelled_at INTEGER,
    -- When somebody put it away: its results stay, nobody else gets it.
    closed_at INTEGER,
    -- The package that has to succeed on a computer before this one is offered there.
    follows INTEGER,
    -- The first of the deployments that were made in one act.
    bundle INTEGER,
    -- Whether others have to agree before anybody is told, and who has.
    approval_id INTEGER REFERENCES approvals (id)
) STRICT;

CREATE INDEX deployments_by_package ON deployments (package_id, id);
CREATE INDEX deployments_by_bundle ON deployments (bundle, id) WHERE bundle IS NOT NULL;
CREATE INDEX deployments_by_approval ON deployments (approval_id, id) WHERE approval_id IS NOT NULL;
CREATE INDEX deployments_standing ON deployments (id) WHERE all_computers AND cancelled_at IS NULL;

-- When and where deployments may run, of those that say so. A table of its own, so that a check-in finds nothing in an empty
-- one where none does. windows are in the zone.
CREATE TABLE deployment_gates (
    deployment_id INTEGER NOT NULL PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    windows TEXT,
    zone TEXT,
    ranges TEXT,
    CHECK ((windows IS NULL) = (zone IS NULL)),
    CHECK (windows IS NOT NULL OR ranges IS NOT NULL)
) STRICT;

CREATE TABLE jobs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id INTEGER NOT NULL REFERENCES packages (id),
    force INTEGER NOT NULL CHECK (force IN (0, 1)),
    schedule TEXT,
    post_command TEXT,
    state TEXT NOT NULL CHECK (state IN
        ('pending', 'offered', 'downloading', 'succeeded', 'already installed', 'failed', 'expired', 'cancelled')),
    result TEXT,
    withheld TEXT,
    created_at INTEGER NOT NULL,
    offered_at INTEGER,
    finished_at INTEGER,
    updated_at INTEGER NOT NULL,
    -- The package that has to succeed on the computer first.
    follows INTEGER,
    -- A newer attempt of the deployment is on the same computer.
    retried INTEGER NOT NULL DEFAULT 0 CHECK (retried IN (0, 1)),
    -- The deployment's, as it was when the job was planned: at a contact it is looked at where there is one.
    approval_id INTEGER,
    CHECK ((finished_at IS NULL) = (state IN ('pending', 'offered', 'downloading')))
) STRICT;

-- One open job for a package on a computer, and the way to the open jobs of a computer at each contact.
CREATE UNIQUE INDEX jobs_open ON jobs (computer_id, package_id) WHERE finished_at IS NULL;
CREATE INDEX jobs_by_computer ON jobs (computer_id, package_id, id);
CREATE INDEX jobs_by_package ON jobs (package_id, id);
CREATE INDEX jobs_by_deployment ON jobs (deployment_id, id);
-- No index has an open job's state: to offer one writes its row and nothing else (decision 0663).
CREATE INDEX jobs_unfinished ON jobs (deployment_id, id) WHERE finished_at IS NULL;
CREATE INDEX jobs_finished ON jobs (deployment_id, state, id) WHERE finished_at IS NOT NULL;
-- Jobs that a computer was told of, by when something last happened to them: those that stand still are found first, and who is
-- told now comes last, beside the others that are.
CREATE INDEX jobs_by_move ON jobs (updated_at, id) WHERE state IN ('offered', 'downloading');

-- How many jobs of a deployment are in which state: lists show it of fifty at once. Kept by triggers, so it is never
-- another number than counting would give.
CREATE TABLE job_counts (
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    package_id INTEGER NOT NULL,
    state TEXT NOT NULL,
    retried INTEGER NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (deployment_id, state, retried)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_counts_by_package ON job_counts (package_id);

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs BEGIN
    INSERT INTO job_counts (deployment_id, package_id, state, retried, jobs)
    VALUES (NEW.deployment_id, NEW.package_id, NEW.state, NEW.retried, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_updated AFTER UPDATE OF state, retried ON jobs
WHEN OLD.state <> NEW.state OR OLD.retried <> NEW.retried BEGIN
    UPDATE job_counts SET jobs = jobs - 1
    WHERE deployment_id = OLD.deployment_id AND state = OLD.state AND retried = OLD.retried;
    INSERT INTO job_counts (deployment_id, package_id, state, retried, jobs)
    VALUES (NEW.deployment_id, NEW.package_id, NEW.state, NEW.retried, 1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN
    UPDATE job_counts SET jobs = jobs - 1
    WHERE deployment_id = OLD.deployment_id AND state = OLD.state AND retried = OLD.retried;
END;

-- No references: what was said stays as it was said when computer, package and job are gone.
CREATE TABLE events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (
        kind IN ('offered', 'reported', 'decided', 'cancelled', 'restored', 'key', 'refused', 'apart')
    ),
    computer_id INTEGER,
    device_id TEXT NOT NULL,
    package_id INTEGER,
    job_id INTEGER,
    text TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_computer ON events (computer_id, id);
CREATE INDEX events_by_package ON events (package_id, id);

-- scope_id is 0 for the server's own layer.
CREATE TABLE settings (
    scope TEXT NOT NULL CHECK (scope IN ('global', 'group', 'computer')),
    scope_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (scope, scope_id, key)
) STRICT, WITHOUT ROWID;

-- Which computers have a value of their own.
CREATE INDEX settings_by_key ON settings (scope, key, scope_id, value);

-- computers is a query and families are lines: what the user may touch; nothing means everything.
-- one_time_secret is kept as it is, because its codes are computed from it; one_time_step is the last one that was used.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT NOT NULL,
    must_change_password INTEGER NOT NULL CHECK (must_change_password IN (0, 1)),
    -- For people; nothing is decided by them.
    full_name TEXT NOT NULL DEFAULT '',
    mail TEXT NOT NULL DEFAULT '',
    role TEXT NOT NULL,
    computers TEXT,
    families TEXT,
    one_time_secret BLOB,
    one_time_step INTEGER NOT NULL,
    disabled_at INTEGER,
    last_sign_in INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A group with a query is dynamic. name_key is made as that of computers.
CREATE TABLE groups (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    query TEXT,
    -- What it is for, for people.
    description TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Who is a member and why; 'excluded' is no member, whatever the query says.
CREATE TABLE group_members (
    group_id INTEGER NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    reason TEXT NOT NULL CHECK (reason IN ('query', 'included', 'excluded')),
    since INTEGER NOT NULL,
    PRIMARY KEY (group_id, computer_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_members_by_computer ON group_members (computer_id, group_id);

-- A standing deployment to a group; its members get a job when they become members.
ALTER TABLE deployments ADD COLUMN group_id INTEGER REFERENCES groups (id) ON DELETE SET NULL;

CREATE INDEX deployments_by_group ON deployments (group_id, id);

-- Roles of the administrators' own; those that come with the program stand in the code. rights: words with spaces between.
CREATE TABLE roles (
    name TEXT NOT NULL PRIMARY KEY,
    rights TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who is signed in: the digest of what their cookie holds, never that itself.
CREATE TABLE sessions (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    peer_address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    locked_to TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_user ON sessions (user_name);

-- What programs sign in with. A token can do no more than its owner can at that moment.
CREATE TABLE tokens (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    rights TEXT NOT NULL,
    -- As with users: what the rights hold for, within the user's own scope.
    computers TEXT,
    families TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    last_peer TEXT NOT NULL
) STRICT;

CREATE INDEX tokens_by_user ON tokens (user_name, id);

-- Who changed what. No references: a line stays as it was written when its subject is gone.
CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL CHECK (via IN ('console', 'api', 'command line', 'server')),
    peer_address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
) STRICT;

CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_actor ON audit (actor, id);

-- Creations that may be asked for twice. The claim is written with the first change; the answer follows it.
CREATE TABLE idempotency_keys (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL CHECK (length(request) = 32),
    at INTEGER NOT NULL,
    status INTEGER,
    answer TEXT,
    PRIMARY KEY (actor, key)
) STRICT, WITHOUT ROWID;

-- Lists that somebody wants to see again. query is the text of the list's address.
CREATE TABLE saved_views (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    list TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    shared INTEGER NOT NULL CHECK (shared IN (0, 1)),
    created_at INTEGER NOT NULL,
    UNIQUE (owner, list, name)
) STRICT;

CREATE TABLE notes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE INDEX notes_by_computer ON notes (computer_id, id);

-- Whom to tell how deployments go on. failures: deliveries that failed one after the other.
CREATE TABLE webhooks (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    told_event INTEGER NOT NULL,
    told_deployment INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    last_error TEXT,
    last_delivery INTEGER,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- What Windows agents are asked to look up in their registry.
CREATE TABLE registry_queries (
    name_key TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    tree INTEGER NOT NULL CHECK (tree BETWEEN 0 AND 4),
    key TEXT NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What they found: REGISTRY of the last inventory.
CREATE TABLE registry_values (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    value TEXT NOT NULL,
    value_key TEXT NOT NULL,
    PRIMARY KEY (computer_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX registry_values_by_name ON registry_values (name_key, value_key, computer_id);

-- Who was elected to look round in its network: a computer at most once.
CREATE TABLE elections (
    computer_id INTEGER NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT;

CREATE INDEX elections_by_network ON elections (network, computer_id);

-- Who answered there. mac is in upper case. reporter is no reference: what was seen stays when who saw it is gone.
CREATE TABLE discovered (
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    ip_address TEXT NOT NULL,
    name TEXT NOT NULL,
    reporter INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (network, mac)
) STRICT, WITHOUT ROWID;

-- What administrators call a network, and whether nobody is to look round there.
CREATE TABLE network_labels (
    network TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    excluded INTEGER NOT NULL CHECK (excluded IN (0, 1))
) STRICT, WITHOUT ROWID;

-- Servers that keep a copy of the tree. The token is kept as its SHA-256; what a mirror said at its last report is beside it,
-- and what came of asking it for a file: lost_at is when that began to fail.
CREATE TABLE mirrors (
    name TEXT NOT NULL PRIMARY KEY,
    location TEXT NOT NULL,
    packages TEXT NOT NULL,
    silent_after INTEGER NOT NULL,
    token_hash TEXT UNIQUE,
    created_at INTEGER NOT NULL,
    reported_at INTEGER,
    reported_from TEXT NOT NULL,
    generation INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    problem TEXT NOT NULL,
    reached_at INTEGER,
    lost_at INTEGER,
    lost_why TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE mirror_packages (
    mirror TEXT NOT NULL REFERENCES mirrors (name) ON DELETE CASCADE,
    package_id INTEGER NOT NULL,
    PRIMARY KEY (mirror, package_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sites (
    name TEXT NOT NULL PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Addresses as 32 hexadecimal digits, IPv4 mapped into IPv6: their order is that of the texts.
CREATE TABLE site_ranges (
    first TEXT NOT NULL,
    last TEXT NOT NULL,
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    range TEXT NOT NULL,
    PRIMARY KEY (first, last, site)
) STRICT, WITHOUT ROWID;

CREATE TABLE site_mirrors (
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    mirror TEXT NOT NULL REFERENCES mirrors (name) ON DELETE CASCADE,
    PRIMARY KEY (site, position)
) STRICT, WITHOUT ROWID;

-- What inventories say in their sections, every text once; a section as such has an empty field and an empty value.
CREATE TABLE inventory_values (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 16),
    section TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    value_key TEXT NOT NULL
) STRICT;

CREATE INDEX inventory_values_by_field ON inventory_values (section, field, value_key, id);

CREATE TABLE computer_values (
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    value_id INTEGER NOT NULL REFERENCES inventory_values (id),
    PRIMARY KEY (computer_id, value_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX computer_values_by_value ON computer_values (value_id, computer_id);

-- Files on their way to the server. received: how many bytes are durable in the file of that name below staging/uploads.
-- files: paths and sizes, as JSON, of those that lie in it one behind the other; NULL for a file by itself.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    size INTEGER NOT NULL CHECK (size >= 0),
    received INTEGER NOT NULL CHECK (received BETWEEN 0 AND size),
    sha256 BLOB CHECK (length(sha256) = 32),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    files TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX uploads_by_owner ON uploads (owner, changed_at);
CREATE INDEX uploads_by_change ON uploads (changed_at);

-- What is inside a package's archive: a compressed document. Apart from packages, so that a list of these does not read it.
CREATE TABLE package_contents (
    package_id INTEGER NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    document BLOB NOT NULL
) STRICT;

-- What a package was made by, as JSON: its template, what was typed, the script. A new version begins with it.
CREATE TABLE recipes (
    package_id INTEGER NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    document TEXT NOT NULL
) STRICT;

-- Administrators' own templates, every version that ever was; an empty document ends one. current: the one to choose.
CREATE TABLE templates (
    id TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    document TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    made_by TEXT NOT NULL,
    current INTEGER NOT NULL CHECK (current IN (0, 1)),
    PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX templates_current ON templates (id) WHERE current;

-- Packages that were taken back, and the activation that they had: what an undo needs besides the files.
CREATE TABLE withdrawals (
    package_id INTEGER NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    info_location TEXT,
    fragment_location TEXT,
    activated_at INTEGER,
    checked_at INTEGER
) STRICT;

-- Groups that were deleted, with what an undo needs. document: JSON.
CREATE TABLE deleted_groups (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name_key TEXT NOT NULL,
    at INTEGER NOT NULL,
    document TEXT NOT NULL
) STRICT;

-- What a webhook was told of a deployment: tenths that are done, failures, and whether its end was told.
CREATE TABLE webhook_progress (
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    deployment_id INTEGER NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
    waits INTEGER NOT NULL CHECK (waits IN (0, 1)),
    PRIMARY KEY (webhook_id, deployment_id)
) STRICT, WITHOUT ROWID;

-- The last attempts of each webhook.
CREATE TABLE webhook_deliveries (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    webhook_id INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    deployment_id INTEGER,
    milliseconds INTEGER NOT NULL,
    error TEXT,
    message_id TEXT NOT NULL,
    document TEXT NOT NULL
) STRICT;

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);

-- Digests of what stands in for a lost authenticator, once each.
CREATE TABLE recovery_codes (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (user_name, digest)
) STRICT, WITHOUT ROWID;

-- Computers that look like one, the older one first. same is the sum of what they have in common, as AUTO_DUPLICATE_LVL has
-- it; settled is what a person has said to be two.
CREATE TABLE likenesses (
    older_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    newer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    same INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    settled_at INTEGER,
    settled_by TEXT,
    PRIMARY KEY (older_id, newer_id),
    CHECK (older_id < newer_id),
    CHECK ((settled_at IS NULL) = (settled_by IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX likenesses_by_newer ON likenesses (newer_id);
CREATE INDEX likenesses_open ON likenesses (newer_id, older_id) WHERE settled_at IS NULL;

-- Computers that a person wrote down before their agents came.
CREATE TABLE entered_computers (
    computer_id INTEGER NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    entered_at INTEGER NOT NULL,
    entered_by TEXT NOT NULL
) STRICT;

-- What agents show to register a key of their own: made by an administrator, one row or none.
CREATE TABLE registration_key (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;

-- Names whose first agent with a key may register by its name alone, once.
CREATE TABLE expected_computers (
    name_key TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What is deployed again and again. asked: packages, for whom and how, as JSON; each run finds out anew who that is. owner: whose
-- rights it acts with, none for the server's own command line; computers and families: what these hold for.
CREATE TABLE series (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    asked TEXT NOT NULL,
    rule TEXT NOT NULL,
    zone TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    -- None while it is paused, and when it has ended.
    next_at INTEGER,
    paused_at INTEGER,
    -- Why it paused by itself.
    problem TEXT,
    ended_at INTEGER,
    runs INTEGER NOT NULL,
    owner TEXT,
    computers TEXT,
    families TEXT,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- Whether others have to agree before a run begins, and who has.
    approval_id INTEGER REFERENCES approvals (id),
    CHECK ((next_at IS NULL) = (paused_at IS NOT NULL OR ended_at IS NOT NULL))
) STRICT;

CREATE INDEX series_due ON series (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX series_by_approval ON series (approval_id) WHERE approval_id IS NOT NULL;
CREATE INDEX series_ailing ON series (id) WHERE problem IS NOT NULL AND ended_at IS NULL;

-- due_at: none for a run that somebody began by hand. deployment_id: the first of a bundle; none if nobody was meant.
CREATE TABLE series_runs (
    series_id INTEGER NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    run INTEGER NOT NULL,
    due_at INTEGER,
    started_at INTEGER NOT NULL,
    started_by TEXT NOT NULL,
    deployment_id INTEGER REFERENCES deployments (id) ON DELETE SET NULL,
    PRIMARY KEY (series_id, run)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX series_runs_by_deployment ON series_runs (deployment_id) WHERE deployment_id IS NOT NULL;

-- Computers that are to be woken, and that were (docs/decisions/0790).
CREATE TABLE wakes (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    computer_id INTEGER NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    -- For which deployment; none for one that somebody asked for.
    deployment_id INTEGER REFERENCES deployments (id) ON DELETE CASCADE,
    asked_by TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'came', 'silent', 'not-needed', 'no-address', 'failed')),
    sent_at INTEGER,
    came_at INTEGER,
    -- Why no packet went out.
    problem TEXT
) STRICT;

CREATE INDEX wakes_of_computer ON wakes (computer_id, id);
-- A deployment wakes each computer once.
CREATE UNIQUE INDEX wakes_once ON wakes (deployment_id, computer_id) WHERE deployment_id IS NOT NULL;
CREATE INDEX wakes_of_deployment ON wakes (deployment_id, state, id) WHERE deployment_id IS NOT NULL;
CREATE INDEX wakes_waiting ON wakes (id) WHERE state = 'waiting';
CREATE INDEX wakes_sent ON wakes (sent_at, id) WHERE state = 'sent';

-- Deployments that wake their computers, once: begun_at says that it was done.
CREATE TABLE deployment_wakes (
    deployment_id INTEGER NOT NULL PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    due_at INTEGER NOT NULL,
    begun_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX deployment_wakes_due ON deployment_wakes (due_at) WHERE begun_at IS NULL;
