//! The tables, as diesel sees them. `tests/it/backends.rs` compares them with what the migrations make.

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    packages (id) {
        id -> BigInt,
        name -> Text,
        version -> Text,
        description -> Text,
        os -> Text,
        action -> Text,
        action_text -> Text,
        priority -> BigInt,
        notify_text -> Nullable<Text>,
        notify_countdown -> Nullable<BigInt>,
        notify_can_abort -> Bool,
        notify_can_delay -> Bool,
        notify_max_delays -> Nullable<BigInt>,
        notify_deadline_hours -> Nullable<BigInt>,
        notify_nobody -> Text,
        done_text -> Nullable<Text>,
        exit_codes -> Text,
        fragment_count -> BigInt,
        size -> BigInt,
        md5 -> Nullable<Binary>,
        sha256 -> Nullable<Binary>,
        state -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    fragments (package_id, number) {
        package_id -> BigInt,
        number -> BigInt,
        size -> BigInt,
        sha256 -> Binary,
    }
}

diesel::table! {
    activations (package_id) {
        package_id -> BigInt,
        info_location -> Text,
        fragment_location -> Text,
        activated_at -> BigInt,
        checked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    computers (id) {
        id -> BigInt,
        device_id -> Text,
        name -> Text,
        name_key -> Text,
        os_name -> Text,
        os_version -> Text,
        architecture -> Text,
        ip_address -> Text,
        peer_address -> Text,
        user_name -> Text,
        serial -> Text,
        model -> Text,
        uuid -> Text,
        workgroup -> Text,
        tag -> Text,
        user_agent -> Text,
        first_contact -> BigInt,
        last_contact -> BigInt,
        last_inventory -> Nullable<BigInt>,
        archived_at -> Nullable<BigInt>,
        contacts -> BigInt,
        contact_gap -> BigInt,
        agent_key -> Nullable<Text>,
        agent_key_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    networks (computer_id, position) {
        computer_id -> BigInt,
        position -> BigInt,
        ip_address -> Text,
        mac -> Text,
        subnet -> Text,
        mask -> Text,
    }
}

diesel::table! {
    inventory_documents (computer_id) {
        computer_id -> BigInt,
        sha256 -> Binary,
        document -> Binary,
    }
}

diesel::table! {
    inventory_sections (computer_id) {
        computer_id -> BigInt,
        digests -> Text,
        stored_at -> BigInt,
    }
}

diesel::table! {
    software (id) {
        id -> BigInt,
        digest -> Binary,
        name -> Text,
        name_key -> Text,
        publisher -> Text,
        version -> Text,
    }
}

diesel::table! {
    computer_software (computer_id, software_id) {
        computer_id -> BigInt,
        software_id -> BigInt,
    }
}

diesel::table! {
    inventory_changes (id) {
        id -> BigInt,
        computer_id -> BigInt,
        at -> BigInt,
        section -> Text,
        kind -> Text,
        item -> Text,
        field -> Text,
        old_value -> Text,
        new_value -> Text,
    }
}

diesel::table! {
    fields (id) {
        id -> BigInt,
        name -> Text,
        name_key -> Text,
        kind -> Text,
        choices -> Text,
        initial -> Text,
        position -> BigInt,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    mass_changes (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        words -> Text,
        undone_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    mass_values (change_id, computer_id, what) {
        change_id -> BigInt,
        computer_id -> BigInt,
        what -> Text,
        before -> Text,
        after -> Text,
    }
}

diesel::table! {
    computer_fields (computer_id, field_id) {
        computer_id -> BigInt,
        field_id -> BigInt,
        value -> Text,
    }
}

diesel::table! {
    merges (id) {
        id -> BigInt,
        old_id -> BigInt,
        new_id -> BigInt,
        at -> BigInt,
        reason -> Text,
        moved -> Text,
        undone_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    installations (computer_id, package_id, via) {
        computer_id -> BigInt,
        package_id -> BigInt,
        via -> Text,
        known_since -> BigInt,
    }
}

diesel::table! {
    approvals (id) {
        id -> BigInt,
        asked_by -> Text,
        asked_at -> BigInt,
        reach -> BigInt,
        upto -> Nullable<BigInt>,
        needed -> BigInt,
        given -> BigInt,
        let_go_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    approval_votes (id) {
        id -> BigInt,
        approval_id -> BigInt,
        at -> BigInt,
        account -> Text,
        via -> Text,
        verdict -> Text,
        reason -> Text,
        voided_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    deployments (id) {
        id -> BigInt,
        package_id -> BigInt,
        all_computers -> Bool,
        force -> Bool,
        schedule -> Nullable<Text>,
        post_command -> Nullable<Text>,
        created_by -> Text,
        created_at -> BigInt,
        cancelled_at -> Nullable<BigInt>,
        closed_at -> Nullable<BigInt>,
        follows -> Nullable<BigInt>,
        bundle -> Nullable<BigInt>,
        approval_id -> Nullable<BigInt>,
        group_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    job_counts (deployment_id, state, retried) {
        deployment_id -> BigInt,
        package_id -> BigInt,
        state -> Text,
        retried -> Bool,
        jobs -> BigInt,
    }
}

diesel::table! {
    jobs (id) {
        id -> BigInt,
        deployment_id -> BigInt,
        computer_id -> BigInt,
        package_id -> BigInt,
        force -> Bool,
        schedule -> Nullable<Text>,
        post_command -> Nullable<Text>,
        state -> Text,
        result -> Nullable<Text>,
        withheld -> Nullable<Text>,
        created_at -> BigInt,
        offered_at -> Nullable<BigInt>,
        finished_at -> Nullable<BigInt>,
        updated_at -> BigInt,
        follows -> Nullable<BigInt>,
        retried -> Bool,
        approval_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    events (id) {
        id -> BigInt,
        at -> BigInt,
        kind -> Text,
        computer_id -> Nullable<BigInt>,
        device_id -> Text,
        package_id -> Nullable<BigInt>,
        job_id -> Nullable<BigInt>,
        text -> Text,
    }
}

diesel::table! {
    settings (scope, scope_id, key) {
        scope -> Text,
        scope_id -> BigInt,
        key -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    users (name) {
        name -> Text,
        password_hash -> Text,
        must_change_password -> Bool,
        full_name -> Text,
        mail -> Text,
        role -> Text,
        computers -> Nullable<Text>,
        families -> Nullable<Text>,
        one_time_secret -> Nullable<Binary>,
        one_time_step -> BigInt,
        disabled_at -> Nullable<BigInt>,
        last_sign_in -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    groups (id) {
        id -> BigInt,
        name -> Text,
        name_key -> Text,
        query -> Nullable<Text>,
        description -> Text,
        created_by -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    group_members (group_id, computer_id) {
        group_id -> BigInt,
        computer_id -> BigInt,
        reason -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    roles (name) {
        name -> Text,
        rights -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    sessions (digest) {
        digest -> Binary,
        user_name -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
        peer_address -> Text,
        user_agent -> Text,
        locked_to -> Nullable<Text>,
    }
}

diesel::table! {
    tokens (id) {
        id -> BigInt,
        name -> Text,
        digest -> Binary,
        user_name -> Text,
        rights -> Text,
        computers -> Nullable<Text>,
        families -> Nullable<Text>,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        last_peer -> Text,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        via -> Text,
        peer_address -> Text,
        action -> Text,
        subject -> Text,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
    }
}

diesel::table! {
    idempotency_keys (actor, key) {
        actor -> Text,
        key -> Text,
        request -> Binary,
        at -> BigInt,
        status -> Nullable<BigInt>,
        answer -> Nullable<Text>,
    }
}

diesel::table! {
    saved_views (id) {
        id -> BigInt,
        owner -> Text,
        list -> Text,
        name -> Text,
        query -> Text,
        shared -> Bool,
        created_at -> BigInt,
    }
}

diesel::table! {
    notes (id) {
        id -> BigInt,
        computer_id -> BigInt,
        at -> BigInt,
        author -> Text,
        text -> Text,
    }
}

diesel::table! {
    webhooks (id) {
        id -> BigInt,
        name -> Text,
        url -> Text,
        secret -> Text,
        enabled -> Bool,
        told_event -> BigInt,
        told_deployment -> BigInt,
        failures -> BigInt,
        next_attempt -> BigInt,
        last_error -> Nullable<Text>,
        last_delivery -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    registry_queries (name_key) {
        name_key -> Text,
        name -> Text,
        tree -> BigInt,
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    registry_values (computer_id, position) {
        computer_id -> BigInt,
        position -> BigInt,
        name -> Text,
        name_key -> Text,
        value -> Text,
        value_key -> Text,
    }
}

diesel::table! {
    elections (computer_id) {
        computer_id -> BigInt,
        network -> Text,
        since -> BigInt,
    }
}

diesel::table! {
    discovered (network, mac) {
        network -> Text,
        mac -> Text,
        ip_address -> Text,
        name -> Text,
        reporter -> BigInt,
        first_seen -> BigInt,
        last_seen -> BigInt,
    }
}

diesel::table! {
    network_labels (network) {
        network -> Text,
        name -> Text,
        tag -> Text,
        excluded -> BigInt,
    }
}

diesel::table! {
    mirrors (name) {
        name -> Text,
        location -> Text,
        packages -> Text,
        silent_after -> BigInt,
        token_hash -> Nullable<Text>,
        created_at -> BigInt,
        reported_at -> Nullable<BigInt>,
        reported_from -> Text,
        generation -> BigInt,
        bytes -> BigInt,
        problem -> Text,
        reached_at -> Nullable<BigInt>,
        lost_at -> Nullable<BigInt>,
        lost_why -> Text,
    }
}

diesel::table! {
    mirror_packages (mirror, package_id) {
        mirror -> Text,
        package_id -> BigInt,
    }
}

diesel::table! {
    sites (name) {
        name -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    site_ranges (first, last, site) {
        first -> Text,
        last -> Text,
        site -> Text,
        range -> Text,
    }
}

diesel::table! {
    site_mirrors (site, position) {
        site -> Text,
        position -> BigInt,
        mirror -> Text,
    }
}

diesel::table! {
    inventory_values (id) {
        id -> BigInt,
        digest -> Binary,
        section -> Text,
        field -> Text,
        value -> Text,
        value_key -> Text,
    }
}

diesel::table! {
    computer_values (computer_id, value_id) {
        computer_id -> BigInt,
        value_id -> BigInt,
    }
}

diesel::table! {
    uploads (id) {
        id -> Text,
        owner -> Text,
        name -> Text,
        size -> BigInt,
        received -> BigInt,
        sha256 -> Nullable<Binary>,
        created_at -> BigInt,
        changed_at -> BigInt,
        files -> Nullable<Text>,
    }
}

diesel::table! {
    package_contents (package_id) {
        package_id -> BigInt,
        document -> Binary,
    }
}

diesel::table! {
    recipes (package_id) {
        package_id -> BigInt,
        document -> Text,
    }
}

diesel::table! {
    templates (id, version) {
        id -> Text,
        version -> BigInt,
        document -> Text,
        made_at -> BigInt,
        made_by -> Text,
        current -> Bool,
    }
}

diesel::table! {
    deleted_groups (id) {
        id -> BigInt,
        name_key -> Text,
        at -> BigInt,
        document -> Text,
    }
}

diesel::table! {
    withdrawals (package_id) {
        package_id -> BigInt,
        at -> BigInt,
        info_location -> Nullable<Text>,
        fragment_location -> Nullable<Text>,
        activated_at -> Nullable<BigInt>,
        checked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    webhook_progress (webhook_id, deployment_id) {
        webhook_id -> BigInt,
        deployment_id -> BigInt,
        step -> BigInt,
        failures -> BigInt,
        ended -> Bool,
        waits -> Bool,
    }
}

diesel::table! {
    webhook_deliveries (id) {
        id -> BigInt,
        webhook_id -> BigInt,
        at -> BigInt,
        event -> Text,
        deployment_id -> Nullable<BigInt>,
        milliseconds -> BigInt,
        error -> Nullable<Text>,
        message_id -> Text,
        document -> Text,
    }
}

diesel::table! {
    recovery_codes (user_name, digest) {
        user_name -> Text,
        digest -> Binary,
    }
}

diesel::table! {
    likenesses (older_id, newer_id) {
        older_id -> BigInt,
        newer_id -> BigInt,
        same -> BigInt,
        seen_at -> BigInt,
        settled_at -> Nullable<BigInt>,
        settled_by -> Nullable<Text>,
    }
}

diesel::table! {
    entered_computers (computer_id) {
        computer_id -> BigInt,
        entered_at -> BigInt,
        entered_by -> Text,
    }
}

diesel::table! {
    registration_key (id) {
        id -> BigInt,
        key -> Text,
        created_at -> BigInt,
        created_by -> Text,
    }
}

diesel::table! {
    expected_computers (name_key) {
        name_key -> Text,
        name -> Text,
        created_at -> BigInt,
        created_by -> Text,
    }
}

diesel::table! {
    deployment_gates (deployment_id) {
        deployment_id -> BigInt,
        windows -> Nullable<Text>,
        zone -> Nullable<Text>,
        ranges -> Nullable<Text>,
    }
}

diesel::table! {
    series (id) {
        id -> BigInt,
        asked -> Text,
        rule -> Text,
        zone -> Text,
        starts_at -> BigInt,
        next_at -> Nullable<BigInt>,
        paused_at -> Nullable<BigInt>,
        problem -> Nullable<Text>,
        ended_at -> Nullable<BigInt>,
        runs -> BigInt,
        owner -> Nullable<Text>,
        computers -> Nullable<Text>,
        families -> Nullable<Text>,
        created_by -> Text,
        created_at -> BigInt,
        approval_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    series_runs (series_id, run) {
        series_id -> BigInt,
        run -> BigInt,
        due_at -> Nullable<BigInt>,
        started_at -> BigInt,
        started_by -> Text,
        deployment_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    wakes (id) {
        id -> BigInt,
        computer_id -> BigInt,
        deployment_id -> Nullable<BigInt>,
        asked_by -> Text,
        asked_at -> BigInt,
        state -> Text,
        sent_at -> Nullable<BigInt>,
        came_at -> Nullable<BigInt>,
        problem -> Nullable<Text>,
    }
}

diesel::table! {
    deployment_wakes (deployment_id) {
        deployment_id -> BigInt,
        due_at -> BigInt,
        begun_at -> Nullable<BigInt>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(events, jobs);

diesel::allow_tables_to_appear_in_same_query!(computer_values, inventory_values);

diesel::allow_tables_to_appear_in_same_query!(mirror_packages, mirrors, site_mirrors, site_ranges, sites);

diesel::allow_tables_to_appear_in_same_query!(mirror_packages, packages);

diesel::allow_tables_to_appear_in_same_query!(job_counts, packages);
diesel::allow_tables_to_appear_in_same_query!(mass_changes, mass_values);

diesel::allow_tables_to_appear_in_same_query!(approval_votes, approvals);

diesel::allow_tables_to_appear_in_same_query!(approvals, series);

diesel::allow_tables_to_appear_in_same_query!(
    activations,
    approvals,
    computer_fields,
    computer_software,
    computers,
    deployment_gates,
    deployment_wakes,
    deployments,
    elections,
    entered_computers,
    fields,
    group_members,
    groups,
    installations,
    jobs,
    networks,
    packages,
    registry_values,
    settings,
    software,
    wakes
);
