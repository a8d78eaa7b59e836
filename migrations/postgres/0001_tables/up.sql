-- Times are Unix milliseconds, states are words, digests are bytes. Numbers are never used twice (identity), because
-- events refer to them for ever.

-- package: highest number ever given out, whatever became of the row. tree: how often the published tree has changed.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

INSERT INTO counters (name, value) VALUES ('package', 0), ('tree', 0);

CREATE TABLE packages (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id BETWEEN 1 AND 2147483647),
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    os TEXT NOT NULL CHECK (os IN ('linux', 'windows', 'macos')),
    action TEXT NOT NULL CHECK (action IN ('launch', 'execute', 'store')),
    action_text TEXT NOT NULL,
    priority BIGINT NOT NULL CHECK (priority >= 0),
    notify_text TEXT,
    notify_countdown BIGINT,
    notify_can_abort BOOLEAN NOT NULL,
    notify_can_delay BOOLEAN NOT NULL,
    notify_max_delays BIGINT CHECK (notify_max_delays > 0),
    notify_deadline_hours BIGINT CHECK (notify_deadline_hours > 0),
    notify_nobody TEXT NOT NULL CHECK (notify_nobody IN ('run', 'wait')),
    done_text TEXT,
    exit_codes TEXT NOT NULL,
    fragment_count BIGINT NOT NULL CHECK (fragment_count >= 0),
    size BIGINT NOT NULL CHECK (size >= 0),
    md5 BYTEA CHECK (length(md5) = 16),
    sha256 BYTEA CHECK (length(sha256) = 32),
    state TEXT NOT NULL CHECK (state IN ('building', 'available', 'withdrawn')),
    created_at BIGINT NOT NULL
);

CREATE INDEX packages_by_state ON packages (state, id);
CREATE INDEX packages_by_name ON packages (name, id);

CREATE TABLE fragments (
    package_id BIGINT NOT NULL REFERENCES packages (id) ON DELETE CASCADE,
    number BIGINT NOT NULL CHECK (number >= 1),
    size BIGINT NOT NULL CHECK (size >= 0),
    sha256 BYTEA NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (package_id, number)
);

CREATE TABLE activations (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    info_location TEXT NOT NULL,
    fragment_location TEXT NOT NULL,
    activated_at BIGINT NOT NULL,
    checked_at BIGINT
);

-- name_key is the name in lower case, as Rust makes it: the two databases do not agree on letters beyond ASCII.
CREATE TABLE computers (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
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
    first_contact BIGINT NOT NULL,
    last_contact BIGINT NOT NULL,
    last_inventory BIGINT,
    archived_at BIGINT,
    contacts BIGINT NOT NULL DEFAULT 0,
    contact_gap BIGINT NOT NULL DEFAULT 0,
    agent_key TEXT,
    agent_key_at BIGINT,
    CHECK ((agent_key IS NULL) = (agent_key_at IS NULL))
);

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
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    ip_address TEXT NOT NULL,
    mac TEXT NOT NULL,
    subnet TEXT NOT NULL,
    mask TEXT NOT NULL,
    PRIMARY KEY (computer_id, position)
);

CREATE INDEX networks_by_mac ON networks (mac);
CREATE INDEX networks_by_subnet ON networks (subnet, computer_id);

-- Apart from computers, so that a list of these does not read those.
CREATE TABLE inventory_documents (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    sha256 BYTEA NOT NULL,
    document BYTEA NOT NULL
);

-- A document with the digests of its sections. Apart from the document: what is compared at each inventory is not read
-- or written with it.
CREATE TABLE inventory_sections (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    digests TEXT NOT NULL,
    stored_at BIGINT NOT NULL
);

-- Every title once. digest is that of name, publisher and version: those may be longer than an index takes.
CREATE TABLE software (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 16),
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    publisher TEXT NOT NULL,
    version TEXT NOT NULL
);

CREATE INDEX software_by_name ON software (name_key, id);

CREATE TABLE computer_software (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    software_id BIGINT NOT NULL REFERENCES software (id),
    PRIMARY KEY (computer_id, software_id)
);

CREATE INDEX computer_software_by_title ON computer_software (software_id, computer_id);

-- What became another between two inventories. Bounded for each computer.
CREATE TABLE inventory_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    section TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('added', 'removed', 'changed')),
    item TEXT NOT NULL,
    field TEXT NOT NULL,
    old_value TEXT NOT NULL,
    new_value TEXT NOT NULL
);

CREATE INDEX inventory_changes_by_computer ON inventory_changes (computer_id, id);

-- The administrators' own fields; on the wire fields_<id>. choices: those of a list, one a line. initial: what new computers
-- have. deleted_at: the values are kept for some days, so that it can be taken back.
CREATE TABLE fields (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('text', 'number', 'date', 'yes-no', 'list')),
    choices TEXT NOT NULL,
    initial TEXT NOT NULL,
    position BIGINT NOT NULL,
    deleted_at BIGINT
);

CREATE UNIQUE INDEX fields_by_name ON fields (name_key) WHERE deleted_at IS NULL;

CREATE TABLE computer_fields (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    field_id BIGINT NOT NULL REFERENCES fields (id) ON DELETE CASCADE,
    value TEXT NOT NULL,
    PRIMARY KEY (computer_id, field_id)
);

CREATE INDEX computer_fields_by_field ON computer_fields (field_id, computer_id);

-- What many computers were given at once, with what each had before, so that it can be taken back for some days. what: tag,
-- field <id> or setting <key>; an empty text is none.
CREATE TABLE mass_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    words TEXT NOT NULL,
    undone_at BIGINT
);

CREATE TABLE mass_values (
    change_id BIGINT NOT NULL REFERENCES mass_changes (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    what TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    PRIMARY KEY (change_id, computer_id, what)
);

CREATE INDEX mass_values_by_computer ON mass_values (computer_id);

-- Who became whom; moved is what an undo needs, as JSON.
CREATE TABLE merges (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    old_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    new_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    moved TEXT NOT NULL,
    undone_at BIGINT
);

CREATE INDEX merges_by_old ON merges (old_id, id);
CREATE INDEX merges_by_new ON merges (new_id, id);

-- No reference to packages: an agent's history may name packages of another server.
CREATE TABLE installations (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL,
    via TEXT NOT NULL CHECK (via IN ('history', 'job')),
    known_since BIGINT NOT NULL,
    PRIMARY KEY (computer_id, package_id, via)
);

CREATE INDEX installations_by_package ON installations (package_id, computer_id);

-- What many computers are meant by, and how many others have to agree. upto: nobody is asked as long as it reaches fewer
-- computers than that. given: votes that count. let_go_at: since when nothing waits for it.
CREATE TABLE approvals (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    reach BIGINT NOT NULL,
    upto BIGINT,
    needed BIGINT NOT NULL CHECK (needed > 0),
    given BIGINT NOT NULL,
    let_go_at BIGINT
);

CREATE INDEX approvals_waiting ON approvals (id) WHERE let_go_at IS NULL;

-- voided_at: when the account was locked out or deleted before the approval was complete.
CREATE TABLE approval_votes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    approval_id BIGINT NOT NULL REFERENCES approvals (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    account TEXT NOT NULL,
    via TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'rejected', 'released')),
    reason TEXT NOT NULL,
    voided_at BIGINT
);

CREATE INDEX approval_votes_by_approval ON approval_votes (approval_id, id);
CREATE INDEX approval_votes_by_account ON approval_votes (account, id);

CREATE TABLE deployments (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    all_computers BOOLEAN NOT NULL,
    force BOOLEAN NOT NULL,
    schedule TEXT,
    post_command TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    cancelled_at BIGINT,
    -- When somebody put it away: its results stay, nobody else gets it.
    closed_at BIGINT,
    -- The package that has to succeed on a computer before this one is offered there.
    follows BIGINT,
    -- The first of the deployments that were made in one act.
    bundle BIGINT,
    -- Whether others have to agree before anybody is told, and who has.
    approval_id BIGINT REFERENCES approvals (id)
);

CREATE INDEX deployments_by_package ON deployments (package_id, id);
CREATE INDEX deployments_by_bundle ON deployments (bundle, id) WHERE bundle IS NOT NULL;
CREATE INDEX deployments_by_approval ON deployments (approval_id, id) WHERE approval_id IS NOT NULL;
CREATE INDEX deployments_standing ON deployments (id) WHERE all_computers AND cancelled_at IS NULL;

-- When and where deployments may run, of those that say so. A table of its own, so that a check-in finds nothing in an empty
-- one where none does. windows are in the zone.
CREATE TABLE deployment_gates (
    deployment_id BIGINT NOT NULL PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    windows TEXT,
    zone TEXT,
    ranges TEXT,
    CHECK ((windows IS NULL) = (zone IS NULL)),
    CHECK (windows IS NOT NULL OR ranges IS NOT NULL)
);

CREATE TABLE jobs (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deployment_id BIGINT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    force BOOLEAN NOT NULL,
    schedule TEXT,
    post_command TEXT,
    state TEXT NOT NULL CHECK (state IN
        ('pending', 'offered', 'downloading', 'succeeded', 'already installed', 'failed', 'expired', 'cancelled')),
    result TEXT,
    withheld TEXT,
    created_at BIGINT NOT NULL,
    offered_at BIGINT,
    finished_at BIGINT,
    updated_at BIGINT NOT NULL,
    -- The package that has to succeed on the computer first.
    follows BIGINT,
    -- A newer attempt of the deployment is on the same computer.
    retried BOOLEAN NOT NULL DEFAULT FALSE,
    -- The deployment's, as it was when the job was planned: at a contact it is looked at where there is one.
    approval_id BIGINT,
    CHECK ((finished_at IS NULL) = (state IN ('pending', 'offered', 'downloading')))
);

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
    deployment_id BIGINT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    package_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    retried BOOLEAN NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, state, retried)
);

CREATE INDEX job_counts_by_package ON job_counts (package_id);

-- Once a statement: a row that is changed a hundred thousand times in one transaction is a hundred thousand rows.
CREATE FUNCTION count_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE job_counts SET jobs = job_counts.jobs - gone.jobs
        FROM (SELECT deployment_id, state, retried, count(*) AS jobs FROM old_jobs GROUP BY 1, 2, 3) AS gone
        WHERE job_counts.deployment_id = gone.deployment_id AND job_counts.state = gone.state
            AND job_counts.retried = gone.retried;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO job_counts (deployment_id, package_id, state, retried, jobs)
        SELECT deployment_id, package_id, state, retried, count(*) FROM new_jobs GROUP BY 1, 2, 3, 4
        ON CONFLICT (deployment_id, state, retried) DO UPDATE SET jobs = job_counts.jobs + excluded.jobs;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER jobs_inserted AFTER INSERT ON jobs REFERENCING NEW TABLE AS new_jobs
FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();

CREATE TRIGGER jobs_updated AFTER UPDATE ON jobs REFERENCING OLD TABLE AS old_jobs NEW TABLE AS new_jobs
FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();

CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs REFERENCING OLD TABLE AS old_jobs
FOR EACH STATEMENT EXECUTE FUNCTION count_jobs();

-- No references: what was said stays as it was said when computer, package and job are gone.
CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (
        kind IN ('offered', 'reported', 'decided', 'cancelled', 'restored', 'key', 'refused', 'apart')
    ),
    computer_id BIGINT,
    device_id TEXT NOT NULL,
    package_id BIGINT,
    job_id BIGINT,
    text TEXT NOT NULL
);

CREATE INDEX events_by_computer ON events (computer_id, id);
CREATE INDEX events_by_package ON events (package_id, id);

-- scope_id is 0 for the server's own layer.
CREATE TABLE settings (
    scope TEXT NOT NULL CHECK (scope IN ('global', 'group', 'computer')),
    scope_id BIGINT NOT NULL,
    key TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (scope, scope_id, key)
);

-- Which computers have a value of their own.
CREATE INDEX settings_by_key ON settings (scope, key, scope_id, value);

-- computers is a query and families are lines: what the user may touch; nothing means everything.
-- one_time_secret is kept as it is, because its codes are computed from it; one_time_step is the last one that was used.
CREATE TABLE users (
    name TEXT NOT NULL PRIMARY KEY,
    password_hash TEXT NOT NULL,
    must_change_password BOOLEAN NOT NULL,
    -- For people; nothing is decided by them.
    full_name TEXT NOT NULL DEFAULT '',
    mail TEXT NOT NULL DEFAULT '',
    role TEXT NOT NULL,
    computers TEXT,
    families TEXT,
    one_time_secret BYTEA,
    one_time_step BIGINT NOT NULL,
    disabled_at BIGINT,
    last_sign_in BIGINT,
    created_at BIGINT NOT NULL
);

-- A group with a query is dynamic. name_key is made as that of computers.
CREATE TABLE groups (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    query TEXT,
    -- What it is for, for people.
    description TEXT NOT NULL DEFAULT '',
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Who is a member and why; 'excluded' is no member, whatever the query says.
CREATE TABLE group_members (
    group_id BIGINT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    reason TEXT NOT NULL CHECK (reason IN ('query', 'included', 'excluded')),
    since BIGINT NOT NULL,
    PRIMARY KEY (group_id, computer_id)
);

CREATE INDEX group_members_by_computer ON group_members (computer_id, group_id);

-- A standing deployment to a group; its members get a job when they become members.
ALTER TABLE deployments ADD COLUMN group_id BIGINT REFERENCES groups (id) ON DELETE SET NULL;

CREATE INDEX deployments_by_group ON deployments (group_id, id);

-- Roles of the administrators' own; those that come with the program stand in the code. rights: words with spaces between.
CREATE TABLE roles (
    name TEXT NOT NULL PRIMARY KEY,
    rights TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Who is signed in: the digest of what their cookie holds, never that itself.
CREATE TABLE sessions (
    digest BYTEA NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    peer_address TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    locked_to TEXT
);

CREATE INDEX sessions_by_user ON sessions (user_name);

-- What programs sign in with. A token can do no more than its owner can at that moment.
CREATE TABLE tokens (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 32),
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    rights TEXT NOT NULL,
    -- As with users: what the rights hold for, within the user's own scope.
    computers TEXT,
    families TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    last_peer TEXT NOT NULL
);

CREATE INDEX tokens_by_user ON tokens (user_name, id);

-- Who changed what. No references: a line stays as it was written when its subject is gone.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    via TEXT NOT NULL CHECK (via IN ('console', 'api', 'command line', 'server')),
    peer_address TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    before TEXT,
    after TEXT
);

CREATE INDEX audit_by_subject ON audit (subject, id);
CREATE INDEX audit_by_actor ON audit (actor, id);

-- Creations that may be asked for twice. The claim is written with the first change; the answer follows it.
CREATE TABLE idempotency_keys (
    actor TEXT NOT NULL,
    key TEXT NOT NULL,
    request BYTEA NOT NULL CHECK (length(request) = 32),
    at BIGINT NOT NULL,
    status BIGINT,
    answer TEXT,
    PRIMARY KEY (actor, key)
);

-- Lists that somebody wants to see again. query is the text of the list's address.
CREATE TABLE saved_views (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner TEXT NOT NULL,
    list TEXT NOT NULL,
    name TEXT NOT NULL,
    query TEXT NOT NULL,
    shared BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (owner, list, name)
);

CREATE TABLE notes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    author TEXT NOT NULL,
    text TEXT NOT NULL
);

CREATE INDEX notes_by_computer ON notes (computer_id, id);

-- Whom to tell how deployments go on. failures: deliveries that failed one after the other.
CREATE TABLE webhooks (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    told_event BIGINT NOT NULL,
    told_deployment BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    next_attempt BIGINT NOT NULL,
    last_error TEXT,
    last_delivery BIGINT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- What Windows agents are asked to look up in their registry.
CREATE TABLE registry_queries (
    name_key TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    tree BIGINT NOT NULL CHECK (tree BETWEEN 0 AND 4),
    key TEXT NOT NULL,
    value TEXT NOT NULL
);

-- What they found: REGISTRY of the last inventory.
CREATE TABLE registry_values (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    value TEXT NOT NULL,
    value_key TEXT NOT NULL,
    PRIMARY KEY (computer_id, position)
);

CREATE INDEX registry_values_by_name ON registry_values (name_key, value_key, computer_id);

-- Who was elected to look round in its network: a computer at most once.
CREATE TABLE elections (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    since BIGINT NOT NULL
);

CREATE INDEX elections_by_network ON elections (network, computer_id);

-- Who answered there. mac is in upper case. reporter is no reference: what was seen stays when who saw it is gone.
CREATE TABLE discovered (
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    ip_address TEXT NOT NULL,
    name TEXT NOT NULL,
    reporter BIGINT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    PRIMARY KEY (network, mac)
);

-- What administrators call a network, and whether nobody is to look round there.
CREATE TABLE network_labels (
    network TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    excluded BIGINT NOT NULL CHECK (excluded IN (0, 1))
);

-- Servers that keep a copy of the tree. The token is kept as its SHA-256; what a mirror said at its last report is beside it,
-- and what came of asking it for a file: lost_at is when that began to fail.
CREATE TABLE mirrors (
    name TEXT NOT NULL PRIMARY KEY,
    location TEXT NOT NULL,
    packages TEXT NOT NULL,
    silent_after BIGINT NOT NULL,
    token_hash TEXT UNIQUE,
    created_at BIGINT NOT NULL,
    reported_at BIGINT,
    reported_from TEXT NOT NULL,
    generation BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    problem TEXT NOT NULL,
    reached_at BIGINT,
    lost_at BIGINT,
    lost_why TEXT NOT NULL
);

CREATE TABLE mirror_packages (
    mirror TEXT NOT NULL REFERENCES mirrors (name) ON DELETE CASCADE,
    package_id BIGINT NOT NULL,
    PRIMARY KEY (mirror, package_id)
);

CREATE TABLE sites (
    name TEXT NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- Addresses as 32 hexadecimal digits, IPv4 mapped into IPv6: their order is that of the texts.
CREATE TABLE site_ranges (
    first TEXT COLLATE "C" NOT NULL,
    last TEXT COLLATE "C" NOT NULL,
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    "range" TEXT NOT NULL,
    PRIMARY KEY (first, last, site)
);

CREATE TABLE site_mirrors (
    site TEXT NOT NULL REFERENCES sites (name) ON DELETE CASCADE,
    "position" BIGINT NOT NULL,
    mirror TEXT NOT NULL REFERENCES mirrors (name) ON DELETE CASCADE,
    PRIMARY KEY (site, "position")
);

-- What inventories say in their sections, every text once; a section as such has an empty field and an empty value.
CREATE TABLE inventory_values (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest BYTEA NOT NULL UNIQUE CHECK (length(digest) = 16),
    section TEXT NOT NULL,
    field TEXT NOT NULL,
    value TEXT NOT NULL,
    value_key TEXT NOT NULL
);

CREATE INDEX inventory_values_by_field ON inventory_values (section, field, value_key, id);

CREATE TABLE computer_values (
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    value_id BIGINT NOT NULL REFERENCES inventory_values (id),
    PRIMARY KEY (computer_id, value_id)
);

CREATE INDEX computer_values_by_value ON computer_values (value_id, computer_id);

-- Files on their way to the server. received: how many bytes are durable in the file of that name below staging/uploads.
-- files: paths and sizes, as JSON, of those that lie in it one behind the other; NULL for a file by itself.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    size BIGINT NOT NULL CHECK (size >= 0),
    received BIGINT NOT NULL CHECK (received BETWEEN 0 AND size),
    sha256 BYTEA CHECK (length(sha256) = 32),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    files TEXT
);

CREATE INDEX uploads_by_owner ON uploads (owner, changed_at);
CREATE INDEX uploads_by_change ON uploads (changed_at);

-- What is inside a package's archive: a compressed document. Apart from packages, so that a list of these does not read it.
CREATE TABLE package_contents (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    document BYTEA NOT NULL
);

-- What a package was made by, as JSON: its template, what was typed, the script. A new version begins with it.
CREATE TABLE recipes (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    document TEXT NOT NULL
);

-- Administrators' own templates, every version that ever was; an empty document ends one. current: the one to choose.
CREATE TABLE templates (
    id TEXT NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1),
    document TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    made_by TEXT NOT NULL,
    current BOOLEAN NOT NULL,
    PRIMARY KEY (id, version)
);

CREATE UNIQUE INDEX templates_current ON templates (id) WHERE current;

-- Packages that were taken back, and the activation that they had: what an undo needs besides the files.
CREATE TABLE withdrawals (
    package_id BIGINT NOT NULL PRIMARY KEY REFERENCES packages (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    info_location TEXT,
    fragment_location TEXT,
    activated_at BIGINT,
    checked_at BIGINT
);

-- Groups that were deleted, with what an undo needs. document: JSON.
CREATE TABLE deleted_groups (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name_key TEXT NOT NULL,
    at BIGINT NOT NULL,
    document TEXT NOT NULL
);

-- What a webhook was told of a deployment: tenths that are done, failures, and whether its end was told.
CREATE TABLE webhook_progress (
    webhook_id BIGINT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    deployment_id BIGINT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    step BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    ended BOOLEAN NOT NULL,
    waits BOOLEAN NOT NULL,
    PRIMARY KEY (webhook_id, deployment_id)
);

-- The last attempts of each webhook.
CREATE TABLE webhook_deliveries (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    webhook_id BIGINT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    deployment_id BIGINT,
    milliseconds BIGINT NOT NULL,
    error TEXT,
    message_id TEXT NOT NULL,
    document TEXT NOT NULL
);

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);

-- Digests of what stands in for a lost authenticator, once each.
CREATE TABLE recovery_codes (
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    digest BYTEA NOT NULL CHECK (length(digest) = 32),
    PRIMARY KEY (user_name, digest)
);

-- Computers that look like one, the older one first. same is the sum of what they have in common, as AUTO_DUPLICATE_LVL has
-- it; settled is what a person has said to be two.
CREATE TABLE likenesses (
    older_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    newer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    same BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    settled_at BIGINT,
    settled_by TEXT,
    PRIMARY KEY (older_id, newer_id),
    CHECK (older_id < newer_id),
    CHECK ((settled_at IS NULL) = (settled_by IS NULL))
);

CREATE INDEX likenesses_by_newer ON likenesses (newer_id);
CREATE INDEX likenesses_open ON likenesses (newer_id, older_id) WHERE settled_at IS NULL;

-- Computers that a person wrote down before their agents came.
CREATE TABLE entered_computers (
    computer_id BIGINT NOT NULL PRIMARY KEY REFERENCES computers (id) ON DELETE CASCADE,
    entered_at BIGINT NOT NULL,
    entered_by TEXT NOT NULL
);

-- What agents show to register a key of their own: made by an administrator, one row or none.
CREATE TABLE registration_key (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    key TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- Names whose first agent with a key may register by its name alone, once.
CREATE TABLE expected_computers (
    name_key TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL
);

-- What is deployed again and again. asked: packages, for whom and how, as JSON; each run finds out anew who that is. owner: whose
-- rights it acts with, none for the server's own command line; computers and families: what these hold for.
CREATE TABLE series (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked TEXT NOT NULL,
    rule TEXT NOT NULL,
    zone TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    -- None while it is paused, and when it has ended.
    next_at BIGINT,
    paused_at BIGINT,
    -- Why it paused by itself.
    problem TEXT,
    ended_at BIGINT,
    runs BIGINT NOT NULL,
    owner TEXT,
    computers TEXT,
    families TEXT,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Whether others have to agree before a run begins, and who has.
    approval_id BIGINT REFERENCES approvals (id),
    CHECK ((next_at IS NULL) = (paused_at IS NOT NULL OR ended_at IS NOT NULL))
);

CREATE INDEX series_due ON series (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX series_by_approval ON series (approval_id) WHERE approval_id IS NOT NULL;
CREATE INDEX series_ailing ON series (id) WHERE problem IS NOT NULL AND ended_at IS NULL;

-- due_at: none for a run that somebody began by hand. deployment_id: the first of a bundle; none if nobody was meant.
CREATE TABLE series_runs (
    series_id BIGINT NOT NULL REFERENCES series (id) ON DELETE CASCADE,
    run BIGINT NOT NULL,
    due_at BIGINT,
    started_at BIGINT NOT NULL,
    started_by TEXT NOT NULL,
    deployment_id BIGINT REFERENCES deployments (id) ON DELETE SET NULL,
    PRIMARY KEY (series_id, run)
);

CREATE UNIQUE INDEX series_runs_by_deployment ON series_runs (deployment_id) WHERE deployment_id IS NOT NULL;

-- Computers that are to be woken, and that were (docs/decisions/0790).
CREATE TABLE wakes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    computer_id BIGINT NOT NULL REFERENCES computers (id) ON DELETE CASCADE,
    -- For which deployment; none for one that somebody asked for.
    deployment_id BIGINT REFERENCES deployments (id) ON DELETE CASCADE,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'came', 'silent', 'not-needed', 'no-address', 'failed')),
    sent_at BIGINT,
    came_at BIGINT,
    -- Why no packet went out.
    problem TEXT
);

CREATE INDEX wakes_of_computer ON wakes (computer_id, id);
-- A deployment wakes each computer once.
CREATE UNIQUE INDEX wakes_once ON wakes (deployment_id, computer_id) WHERE deployment_id IS NOT NULL;
CREATE INDEX wakes_of_deployment ON wakes (deployment_id, state, id) WHERE deployment_id IS NOT NULL;
CREATE INDEX wakes_waiting ON wakes (id) WHERE state = 'waiting';
CREATE INDEX wakes_sent ON wakes (sent_at, id) WHERE state = 'sent';

-- Deployments that wake their computers, once: begun_at says that it was done.
CREATE TABLE deployment_wakes (
    deployment_id BIGINT NOT NULL PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    due_at BIGINT NOT NULL,
    begun_at BIGINT
);

CREATE INDEX deployment_wakes_due ON deployment_wakes (due_at) WHERE begun_at IS NULL;
