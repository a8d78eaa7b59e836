//! Who may ask for what, route by route, as a table beside the routes: a route that is not in it fails the test, and each
//! is really called by nobody, a viewer, a deployer, somebody limited to a scope, an administrator, somebody who was locked
//! out, and a token that may nothing.

mod scope;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION};
use http::{Method, Request, StatusCode};
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use super::{Listener, Remote, Server, api, console, router};
use crate::clock::Clock;
use crate::config::server::ServerOpts;
use crate::disk::published::PublishedTree;
use crate::model::UnixTime;
use crate::model::access::{Right, Rights, Scope};
use crate::model::limits::{ArchiveLimits, RequestLimits};
use crate::service::{App, signin};
use crate::store::audit;
use crate::store::sessions::{self, Session, Token};
use crate::store::users::{self, User};
use crate::store::{DatabaseUrl, Store};

/// What a route asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Needs {
    /// To be somebody.
    Anybody,
    /// The same, but no token without the right to manage users.
    Person,
    /// A right.
    Only(Right),
    /// A right that is not limited to some computers.
    Whole(Right),
}

use Needs::{Anybody, Only, Person, Whole};

/// Every page.
const PAGES: &[(&str, &str, Needs)] = &[
    ("GET", "/", Anybody),
    ("GET", "/account", Anybody),
    ("GET", "/account/codes", Anybody),
    ("POST", "/account/codes", Anybody),
    ("POST", "/account/codes/off", Anybody),
    ("POST", "/account/codes/recovery", Anybody),
    ("GET", "/account/password", Anybody),
    ("POST", "/account/password", Anybody),
    ("POST", "/account/profile", Anybody),
    ("POST", "/account/sessions/end", Anybody),
    ("POST", "/account/sessions/end-others", Anybody),
    ("POST", "/account/tokens", Anybody),
    ("POST", "/account/tokens/delete", Anybody),
    ("GET", "/account/tokens/new", Anybody),
    ("GET", "/audit", Only(Right::SeeAudit)),
    ("GET", "/audit/export", Only(Right::SeeAudit)),
    ("GET", "/certificates", Only(Right::SeeSettings)),
    ("POST", "/changes/{id}/undo", Only(Right::SeeComputers)),
    ("GET", "/computers", Only(Right::SeeComputers)),
    ("POST", "/computers/columns", Only(Right::SeeComputers)),
    ("GET", "/computers/counts", Only(Right::SeeComputers)),
    ("GET", "/computers/export.csv", Only(Right::SeeComputers)),
    ("GET", "/computers/export.json", Only(Right::SeeComputers)),
    ("POST", "/computers/selected/{action}", Only(Right::SeeComputers)),
    ("POST", "/computers/views", Only(Right::SeeComputers)),
    ("POST", "/computers/views/delete", Only(Right::SeeComputers)),
    ("GET", "/computers/{device_id}", Only(Right::SeeComputers)),
    ("POST", "/computers/{device_id}/archive", Only(Right::RemoveComputers)),
    ("GET", "/computers/{device_id}/changes", Only(Right::SeeComputers)),
    ("POST", "/computers/{device_id}/delete", Only(Right::RemoveComputers)),
    ("POST", "/computers/{device_id}/fields", Only(Right::EditComputers)),
    ("GET", "/computers/{device_id}/identity", Only(Right::SeeComputers)),
    ("GET", "/computers/{device_id}/inventory", Only(Right::SeeComputers)),
    ("GET", "/computers/{device_id}/inventory.xml", Only(Right::SeeComputers)),
    ("POST", "/computers/{device_id}/forget-key", Only(Right::RemoveComputers)),
    ("POST", "/computers/{device_id}/remember-key", Only(Right::RemoveComputers)),
    ("POST", "/computers/{device_id}/jobs/cancel", Only(Right::StopDeployments)),
    ("POST", "/computers/{device_id}/jobs/cancel/undo", Only(Right::StopDeployments)),
    ("POST", "/computers/{device_id}/jobs/retry", Only(Right::Deploy)),
    ("POST", "/computers/{device_id}/jobs/retry/undo", Only(Right::Deploy)),
    ("POST", "/computers/{device_id}/jobs/take-off", Only(Right::StopDeployments)),
    ("POST", "/computers/{device_id}/merge", Only(Right::RemoveComputers)),
    ("POST", "/computers/{device_id}/notes", Only(Right::EditComputers)),
    ("POST", "/computers/{device_id}/notes/delete", Only(Right::EditComputers)),
    ("POST", "/computers/{device_id}/notes/restore", Only(Right::EditComputers)),
    ("GET", "/computers/{device_id}/packages", Only(Right::SeeComputers)),
    ("GET", "/computers/{device_id}/packages/{package}", Only(Right::SeePackages)),
    ("POST", "/computers/{device_id}/restore", Only(Right::RemoveComputers)),
    ("GET", "/computers/{device_id}/settings", Only(Right::SeeSettings)),
    ("POST", "/computers/{device_id}/settings", Only(Right::EditSettings)),
    ("POST", "/computers/{device_id}/tag", Only(Right::EditComputers)),
    ("POST", "/computers/{device_id}/unmerge", Only(Right::RemoveComputers)),
    ("POST", "/computers/{device_id}/wake", Only(Right::WakeComputers)),
    ("GET", "/deployments", Only(Right::SeeDeployments)),
    ("POST", "/deployments", Only(Right::Deploy)),
    ("GET", "/deployments/live", Only(Right::SeeDeployments)),
    ("GET", "/deployments/new", Only(Right::Deploy)),
    ("POST", "/deployments/new", Only(Right::Deploy)),
    ("POST", "/deployments/preview", Only(Right::Deploy)),
    ("GET", "/deployments/{id}", Only(Right::SeeDeployments)),
    ("POST", "/deployments/{id}/approve", Only(Right::Approve)),
    ("POST", "/deployments/{id}/reject", Only(Right::Approve)),
    ("POST", "/deployments/{id}/release", Only(Right::EditSettings)),
    ("POST", "/deployments/{id}/cancel", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/cancel/undo", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/close", Only(Right::StopDeployments)),
    ("GET", "/deployments/{id}/computers", Only(Right::SeeDeployments)),
    ("GET", "/deployments/{id}/export.csv", Only(Right::SeeDeployments)),
    ("GET", "/deployments/{id}/export.json", Only(Right::SeeDeployments)),
    ("GET", "/deployments/{id}/gates", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/gates", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/gates/preview", Only(Right::Deploy)),
    ("GET", "/deployments/{id}/live", Only(Right::SeeDeployments)),
    ("POST", "/deployments/{id}/reopen", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/retry", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/retry/undo", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/take-off", Only(Right::StopDeployments)),
    ("GET", "/deployments/{id}/why/{job}", Only(Right::SeeDeployments)),
    ("GET", "/fields", Only(Right::SeeComputers)),
    ("POST", "/fields", Whole(Right::EditComputers)),
    ("GET", "/fields/import", Only(Right::EditComputers)),
    ("POST", "/fields/import", Only(Right::EditComputers)),
    ("GET", "/fields/{id}", Only(Right::SeeComputers)),
    ("POST", "/fields/{id}", Whole(Right::EditComputers)),
    ("POST", "/fields/{id}/delete", Whole(Right::EditComputers)),
    ("POST", "/fields/{id}/move", Whole(Right::EditComputers)),
    ("POST", "/fields/{id}/restore", Whole(Right::EditComputers)),
    ("GET", "/duplicates", Only(Right::SeeComputers)),
    ("POST", "/duplicates/ask", Only(Right::RemoveComputers)),
    ("POST", "/duplicates/merge", Only(Right::RemoveComputers)),
    ("POST", "/duplicates/two", Only(Right::RemoveComputers)),
    ("GET", "/entries", Whole(Right::EditComputers)),
    ("POST", "/entries", Whole(Right::EditComputers)),
    ("GET", "/groups", Only(Right::SeeGroups)),
    ("POST", "/groups", Whole(Right::EditGroups)),
    ("GET", "/groups/new", Only(Right::EditGroups)),
    ("POST", "/groups/preview", Only(Right::SeeGroups)),
    ("GET", "/groups/{name}", Only(Right::SeeGroups)),
    ("POST", "/groups/{name}/delete", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/describe", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/members", Only(Right::EditGroups)),
    ("POST", "/groups/{name}/members/back", Only(Right::EditGroups)),
    ("POST", "/groups/{name}/query", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/refresh", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/restore", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/settings", Only(Right::EditSettings)),
    ("GET", "/home/live", Anybody),
    ("GET", "/mirrors", Only(Right::SeeMirrors)),
    ("POST", "/mirrors", Whole(Right::EditMirrors)),
    ("GET", "/mirrors/{name}", Only(Right::SeeMirrors)),
    ("POST", "/mirrors/{name}", Whole(Right::EditMirrors)),
    ("POST", "/mirrors/{name}/remove", Whole(Right::EditMirrors)),
    ("POST", "/mirrors/{name}/token", Whole(Right::EditMirrors)),
    ("GET", "/networks", Whole(Right::SeeComputers)),
    ("POST", "/networks/looking", Whole(Right::EditSettings)),
    ("GET", "/networks/{network}", Whole(Right::SeeComputers)),
    ("POST", "/networks/{network}", Whole(Right::EditSettings)),
    ("GET", "/packages", Only(Right::SeePackages)),
    ("GET", "/packages/compare", Only(Right::SeePackages)),
    ("GET", "/packages/import", Only(Right::BuildPackages)),
    ("POST", "/packages/import", Only(Right::BuildPackages)),
    ("GET", "/packages/live", Only(Right::SeePackages)),
    ("GET", "/packages/new", Only(Right::BuildPackages)),
    ("POST", "/packages/new", Only(Right::BuildPackages)),
    ("POST", "/packages/new/cancel", Only(Right::BuildPackages)),
    ("GET", "/packages/new/contents", Only(Right::BuildPackages)),
    ("POST", "/packages/new/kind", Only(Right::BuildPackages)),
    ("POST", "/packages/new/preview", Only(Right::BuildPackages)),
    ("POST", "/packages/restore", Only(Right::WithdrawPackages)),
    ("POST", "/packages/withdraw", Only(Right::WithdrawPackages)),
    ("GET", "/packages/work/{work}", Only(Right::SeePackages)),
    ("GET", "/packages/work/{work}/live", Only(Right::SeePackages)),
    ("GET", "/packages/{id}", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/activate", Only(Right::ActivatePackages)),
    ("POST", "/packages/{id}/activate", Only(Right::ActivatePackages)),
    ("POST", "/packages/{id}/deactivate", Only(Right::ActivatePackages)),
    ("POST", "/packages/{id}/forget", Only(Right::WithdrawPackages)),
    ("POST", "/packages/{id}/restore", Only(Right::WithdrawPackages)),
    ("GET", "/packages/{id}/computers", Only(Right::SeeDeployments)),
    ("POST", "/packages/{id}/jobs/cancel", Only(Right::StopDeployments)),
    ("POST", "/packages/{id}/jobs/cancel/undo", Only(Right::StopDeployments)),
    ("POST", "/packages/{id}/jobs/retry", Only(Right::Deploy)),
    ("POST", "/packages/{id}/jobs/retry/undo", Only(Right::Deploy)),
    ("POST", "/packages/{id}/jobs/take-off", Only(Right::StopDeployments)),
    ("GET", "/packages/{id}/live", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/withdraw", Only(Right::WithdrawPackages)),
    ("POST", "/packages/{id}/withdraw", Only(Right::WithdrawPackages)),
    ("GET", "/registration", Whole(Right::SeeComputers)),
    ("POST", "/registration/key", Whole(Right::EditSettings)),
    ("POST", "/registration/key/remove", Whole(Right::EditSettings)),
    ("POST", "/registration/names", Whole(Right::EditComputers)),
    ("POST", "/registration/names/remove", Whole(Right::EditComputers)),
    ("GET", "/registry", Only(Right::SeeComputers)),
    ("POST", "/registry", Whole(Right::EditSettings)),
    ("GET", "/registry/{name}", Whole(Right::SeeComputers)),
    ("POST", "/registry/{name}", Whole(Right::EditSettings)),
    ("POST", "/registry/{name}/delete", Whole(Right::EditSettings)),
    ("GET", "/search", Anybody),
    ("GET", "/series", Only(Right::SeeDeployments)),
    ("GET", "/series/{id}", Only(Right::SeeDeployments)),
    ("POST", "/series/{id}/approve", Only(Right::Approve)),
    ("POST", "/series/{id}/reject", Only(Right::Approve)),
    ("POST", "/series/{id}/release", Only(Right::EditSettings)),
    ("POST", "/series/{id}/end", Only(Right::StopDeployments)),
    ("POST", "/series/{id}/pause", Only(Right::StopDeployments)),
    ("POST", "/series/{id}/resume", Only(Right::Deploy)),
    ("POST", "/series/{id}/run", Only(Right::Deploy)),
    ("GET", "/settings", Only(Right::SeeSettings)),
    ("GET", "/settings/{key}", Only(Right::SeeSettings)),
    ("POST", "/settings/{key}", Whole(Right::EditSettings)),
    ("POST", "/settings/{key}/unset", Whole(Right::EditSettings)),
    ("GET", "/sites", Only(Right::SeeMirrors)),
    ("POST", "/sites", Whole(Right::EditMirrors)),
    ("GET", "/sites/{name}", Only(Right::SeeMirrors)),
    ("POST", "/sites/{name}/mirrors", Whole(Right::EditMirrors)),
    ("POST", "/sites/{name}/ranges", Whole(Right::EditMirrors)),
    ("POST", "/sites/{name}/remove", Whole(Right::EditMirrors)),
    ("GET", "/software", Whole(Right::SeeComputers)),
    ("GET", "/software/{name}", Whole(Right::SeeComputers)),
    ("GET", "/templates", Only(Right::BuildPackages)),
    ("POST", "/templates", Only(Right::EditTemplates)),
    ("POST", "/templates/preview", Only(Right::BuildPackages)),
    ("GET", "/templates/{template}", Only(Right::BuildPackages)),
    ("POST", "/templates/{template}/delete", Only(Right::EditTemplates)),
    ("GET", "/templates/{template}/document", Only(Right::BuildPackages)),
    ("GET", "/templates/{template}/edit", Only(Right::EditTemplates)),
    ("POST", "/templates/{template}/restore", Only(Right::EditTemplates)),
    ("GET", "/stuck", Only(Right::SeeDeployments)),
    ("POST", "/theme", Anybody),
    ("POST", "/unlock", Anybody),
    ("GET", "/users", Only(Right::EditUsers)),
    ("POST", "/users", Only(Right::EditUsers)),
    ("GET", "/users/new", Only(Right::EditUsers)),
    ("GET", "/users/one/{name}", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/access", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/codes", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/delete", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/disable", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/enable", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/password", Only(Right::EditUsers)),
    ("POST", "/users/one/{name}/profile", Only(Right::EditUsers)),
    ("POST", "/users/preview", Only(Right::EditUsers)),
    ("GET", "/users/roles", Only(Right::EditUsers)),
    ("POST", "/users/roles", Only(Right::EditUsers)),
    ("POST", "/users/roles/delete", Only(Right::EditUsers)),
    ("GET", "/users/roles/edit", Only(Right::EditUsers)),
    ("POST", "/users/sessions/end", Only(Right::EditUsers)),
    ("POST", "/users/tokens/delete", Only(Right::EditUsers)),
    ("GET", "/webhooks", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks", Whole(Right::EditWebhooks)),
    ("GET", "/webhooks/{id}", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/again", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/delete", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/secret", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/test", Whole(Right::EditWebhooks)),
];

/// Every operation of the API.
const OPERATIONS: &[(&str, &str, Needs)] = &[
    ("GET", "/approvals", Only(Right::SeeDeployments)),
    ("GET", "/audit", Only(Right::SeeAudit)),
    ("POST", "/changes/{change}/undo", Only(Right::SeeComputers)),
    ("GET", "/computers", Only(Right::SeeComputers)),
    ("GET", "/computers/counts", Only(Right::SeeComputers)),
    ("POST", "/computers/import", Only(Right::EditComputers)),
    // As with groups: the document is read before the scope is asked.
    ("POST", "/computers", Only(Right::EditComputers)),
    ("POST", "/computers/selected", Only(Right::SeeComputers)),
    ("DELETE", "/computers/{computer}", Only(Right::RemoveComputers)),
    ("GET", "/computers/{computer}", Only(Right::SeeComputers)),
    ("POST", "/computers/{computer}/archive", Only(Right::RemoveComputers)),
    ("GET", "/computers/{computer}/changes", Only(Right::SeeComputers)),
    ("GET", "/computers/{computer}/document", Only(Right::SeeComputers)),
    ("PUT", "/computers/{computer}/fields/{field}", Only(Right::EditComputers)),
    ("GET", "/computers/{computer}/inventory", Only(Right::SeeComputers)),
    ("DELETE", "/computers/{computer}/key", Only(Right::RemoveComputers)),
    ("POST", "/computers/{computer}/key/restoration", Only(Right::RemoveComputers)),
    ("POST", "/computers/{computer}/merge", Only(Right::RemoveComputers)),
    ("POST", "/computers/{computer}/notes", Only(Right::EditComputers)),
    ("DELETE", "/computers/{computer}/notes/{note}", Only(Right::EditComputers)),
    ("GET", "/computers/{computer}/packages", Only(Right::SeeComputers)),
    ("GET", "/computers/{computer}/packages/{package}", Only(Right::SeePackages)),
    ("POST", "/computers/{computer}/restore", Only(Right::RemoveComputers)),
    ("GET", "/computers/{computer}/settings", Only(Right::SeeSettings)),
    ("DELETE", "/computers/{computer}/settings/{key}", Only(Right::EditSettings)),
    ("PUT", "/computers/{computer}/settings/{key}", Only(Right::EditSettings)),
    ("GET", "/computers/{computer}/software", Only(Right::SeeComputers)),
    ("PUT", "/computers/{computer}/tag", Only(Right::EditComputers)),
    ("POST", "/computers/{computer}/unmerge", Only(Right::RemoveComputers)),
    ("POST", "/computers/{computer}/wake", Only(Right::WakeComputers)),
    ("GET", "/deployments", Only(Right::SeeDeployments)),
    ("POST", "/deployments", Only(Right::Deploy)),
    ("POST", "/deployments/preview", Only(Right::Deploy)),
    ("GET", "/deployments/{id}", Only(Right::SeeDeployments)),
    ("POST", "/deployments/{id}/approve", Only(Right::Approve)),
    ("POST", "/deployments/{id}/reject", Only(Right::Approve)),
    ("POST", "/deployments/{id}/release", Only(Right::EditSettings)),
    ("POST", "/deployments/{id}/cancel", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/cancel/undo", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/close", Only(Right::StopDeployments)),
    ("GET", "/deployments/{id}/computers", Only(Right::SeeDeployments)),
    ("GET", "/deployments/{id}/computers/{job}", Only(Right::SeeDeployments)),
    ("GET", "/deployments/{id}/events", Only(Right::SeeDeployments)),
    ("PUT", "/deployments/{id}/gates", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/reopen", Only(Right::StopDeployments)),
    ("POST", "/deployments/{id}/retry", Only(Right::Deploy)),
    ("GET", "/fields", Only(Right::SeeComputers)),
    ("POST", "/fields", Whole(Right::EditComputers)),
    ("PUT", "/field-order", Whole(Right::EditComputers)),
    ("GET", "/fields/{field}", Only(Right::SeeComputers)),
    ("PATCH", "/fields/{field}", Whole(Right::EditComputers)),
    ("DELETE", "/fields/{field}", Whole(Right::EditComputers)),
    ("POST", "/fields/{field}/restore", Whole(Right::EditComputers)),
    ("GET", "/duplicates", Only(Right::SeeComputers)),
    ("PUT", "/duplicates", Only(Right::RemoveComputers)),
    ("POST", "/deployments/{id}/retry/undo", Only(Right::Deploy)),
    ("POST", "/deployments/{id}/take-off", Only(Right::StopDeployments)),
    ("GET", "/deployments/{id}/wakes", Only(Right::SeeDeployments)),
    ("GET", "/series", Only(Right::SeeDeployments)),
    ("POST", "/series", Only(Right::Deploy)),
    ("GET", "/series/{id}", Only(Right::SeeDeployments)),
    ("POST", "/series/{id}/approve", Only(Right::Approve)),
    ("POST", "/series/{id}/reject", Only(Right::Approve)),
    ("POST", "/series/{id}/release", Only(Right::EditSettings)),
    ("PUT", "/series/{id}", Only(Right::Deploy)),
    ("DELETE", "/series/{id}", Only(Right::StopDeployments)),
    ("POST", "/series/{id}/pause", Only(Right::StopDeployments)),
    ("POST", "/series/{id}/resume", Only(Right::Deploy)),
    ("POST", "/series/{id}/run", Only(Right::Deploy)),
    ("GET", "/series/{id}/runs", Only(Right::SeeDeployments)),
    ("GET", "/groups", Only(Right::SeeGroups)),
    // A document that cannot be read is told before whom it is for; the scope is asked after that.
    ("POST", "/groups", Only(Right::EditGroups)),
    ("POST", "/groups/preview", Only(Right::SeeGroups)),
    ("DELETE", "/groups/{name}", Whole(Right::EditGroups)),
    ("GET", "/groups/{name}", Only(Right::SeeGroups)),
    ("PATCH", "/groups/{name}", Whole(Right::EditGroups)),
    ("PUT", "/groups/{name}", Only(Right::EditGroups)),
    ("GET", "/groups/{name}/members", Only(Right::SeeGroups)),
    ("POST", "/groups/{name}/members", Only(Right::EditGroups)),
    ("POST", "/groups/{name}/refresh", Whole(Right::EditGroups)),
    ("POST", "/groups/{name}/restore", Whole(Right::EditGroups)),
    ("GET", "/groups/{name}/settings", Only(Right::SeeSettings)),
    ("DELETE", "/groups/{name}/settings/{key}", Whole(Right::EditSettings)),
    ("PUT", "/groups/{name}/settings/{key}", Only(Right::EditSettings)),
    ("GET", "/jobs/stuck", Only(Right::SeeDeployments)),
    ("GET", "/me", Anybody),
    ("GET", "/overview", Anybody),
    ("GET", "/packages", Only(Right::SeePackages)),
    ("POST", "/packages", Only(Right::BuildPackages)),
    ("POST", "/packages/import", Only(Right::BuildPackages)),
    ("POST", "/packages/preview", Only(Right::BuildPackages)),
    ("DELETE", "/packages/{id}", Only(Right::WithdrawPackages)),
    ("GET", "/packages/{id}", Only(Right::SeePackages)),
    ("DELETE", "/packages/{id}/activation", Only(Right::ActivatePackages)),
    ("POST", "/packages/{id}/activation", Only(Right::ActivatePackages)),
    ("GET", "/packages/{id}/comparison/{other}", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/download", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/files", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/fragments", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/info", Only(Right::SeePackages)),
    ("GET", "/packages/{id}/recipe", Only(Right::SeePackages)),
    ("DELETE", "/packages/{id}/restoration", Only(Right::WithdrawPackages)),
    ("POST", "/packages/{id}/restoration", Only(Right::WithdrawPackages)),
    ("GET", "/packages/{id}/tree", Only(Right::SeePackages)),
    ("GET", "/roles", Only(Right::EditUsers)),
    ("DELETE", "/roles/{name}", Only(Right::EditUsers)),
    ("PUT", "/roles/{name}", Only(Right::EditUsers)),
    ("GET", "/search", Anybody),
    ("GET", "/sessions", Anybody),
    ("GET", "/settings", Only(Right::SeeSettings)),
    ("DELETE", "/settings/{key}", Whole(Right::EditSettings)),
    ("GET", "/settings/{key}", Only(Right::SeeSettings)),
    ("PUT", "/settings/{key}", Whole(Right::EditSettings)),
    ("GET", "/software", Whole(Right::SeeComputers)),
    ("GET", "/software/{name}", Whole(Right::SeeComputers)),
    ("GET", "/templates", Only(Right::BuildPackages)),
    ("POST", "/templates", Only(Right::EditTemplates)),
    ("POST", "/templates/check", Only(Right::BuildPackages)),
    ("DELETE", "/templates/{template}", Only(Right::EditTemplates)),
    ("GET", "/templates/{template}", Only(Right::BuildPackages)),
    ("GET", "/templates/{template}/versions", Only(Right::BuildPackages)),
    ("GET", "/tokens", Anybody),
    ("POST", "/tokens", Person),
    ("DELETE", "/tokens/{id}", Person),
    ("GET", "/uploads", Only(Right::BuildPackages)),
    ("POST", "/uploads", Only(Right::BuildPackages)),
    ("DELETE", "/uploads/{id}", Only(Right::BuildPackages)),
    ("GET", "/uploads/{id}", Only(Right::BuildPackages)),
    ("HEAD", "/uploads/{id}", Only(Right::BuildPackages)),
    ("PATCH", "/uploads/{id}", Only(Right::BuildPackages)),
    ("GET", "/users", Only(Right::EditUsers)),
    ("POST", "/users", Only(Right::EditUsers)),
    ("DELETE", "/users/{name}", Only(Right::EditUsers)),
    ("GET", "/users/{name}", Only(Right::EditUsers)),
    ("PATCH", "/users/{name}", Only(Right::EditUsers)),
    ("DELETE", "/users/{name}/codes", Only(Right::EditUsers)),
    ("POST", "/users/{name}/password", Only(Right::EditUsers)),
    ("GET", "/views", Only(Right::SeeComputers)),
    ("POST", "/views", Only(Right::SeeComputers)),
    ("DELETE", "/views/{view}", Only(Right::SeeComputers)),
    ("GET", "/webhooks", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks", Whole(Right::EditWebhooks)),
    ("DELETE", "/webhooks/{id}", Whole(Right::EditWebhooks)),
    ("GET", "/webhooks/{id}", Whole(Right::EditWebhooks)),
    ("PUT", "/webhooks/{id}", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/deliveries/{delivery}", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/secret", Whole(Right::EditWebhooks)),
    ("POST", "/webhooks/{id}/test", Whole(Right::EditWebhooks)),
    ("GET", "/mirrors", Only(Right::SeeMirrors)),
    ("POST", "/mirrors", Whole(Right::EditMirrors)),
    ("GET", "/mirrors/{name}", Only(Right::SeeMirrors)),
    ("PUT", "/mirrors/{name}", Whole(Right::EditMirrors)),
    ("DELETE", "/mirrors/{name}", Whole(Right::EditMirrors)),
    ("POST", "/mirrors/{name}/token", Whole(Right::EditMirrors)),
    ("GET", "/mirror-key", Only(Right::SeeMirrors)),
    ("GET", "/sites", Only(Right::SeeMirrors)),
    ("POST", "/sites", Whole(Right::EditMirrors)),
    ("GET", "/sites/{name}", Only(Right::SeeMirrors)),
    ("PUT", "/sites/{name}", Whole(Right::EditMirrors)),
    ("DELETE", "/sites/{name}", Whole(Right::EditMirrors)),
    ("GET", "/expected-computers", Whole(Right::SeeComputers)),
    ("POST", "/expected-computers", Whole(Right::EditComputers)),
    ("PUT", "/expected-computers/{name}", Whole(Right::EditComputers)),
    ("DELETE", "/expected-computers/{name}", Whole(Right::EditComputers)),
    ("GET", "/networks", Whole(Right::SeeComputers)),
    ("GET", "/networks/{network}", Whole(Right::SeeComputers)),
    ("PUT", "/networks/{network}", Whole(Right::EditSettings)),
    ("DELETE", "/registration-key", Whole(Right::EditSettings)),
    ("GET", "/registration-key", Whole(Right::SeeComputers)),
    ("POST", "/registration-key", Whole(Right::EditSettings)),
    ("GET", "/registry-questions", Only(Right::SeeComputers)),
    ("POST", "/registry-questions", Whole(Right::EditSettings)),
    ("PUT", "/registry-questions/{name}", Whole(Right::EditSettings)),
    ("DELETE", "/registry-questions/{name}", Whole(Right::EditSettings)),
    ("GET", "/registry-questions/{name}/findings", Whole(Right::SeeComputers)),
    ("GET", "/server", Anybody),
    ("GET", "/status", Whole(Right::SeeDeployments)),
    ("POST", "/verbs", Anybody),
];

/// Somebody who asks.
struct Somebody {
    name: &'static str,
    rights: Rights,
    limited: bool,
}

/// A server's routes over a database of its own, without sockets.
struct House {
    app: App,
    routes: axum::Router,
    directory: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let app = App {
            store: Store::open(&DatabaseUrl::Sqlite(path.join("dripfeed.db"))).expect("a database"),
            tree: PublishedTree::open(&path.join("download"), &path.join("staging")).expect("a tree"),
            clock: Clock::System,
            request_limits: RequestLimits::DEFAULT,
            archive_limits: ArchiveLimits::DEFAULT,
            configured: crate::model::settings::SettingsLayer::default(),
        };
        let flags = [
            ("data_dir", path.display().to_string()),
            ("http", "127.0.0.1:0".to_owned()),
            ("https", "127.0.0.1:0".to_owned()),
        ];
        let config = ServerOpts::gather(None, &flags).and_then(|opts| opts.check()).expect("a configuration");
        let server = Server::bind(config, app.clone()).expect("a server");
        let house = Self { routes: router::router(server.site.clone()), app, directory };
        // It really answers: the page about certificates asks it.
        tokio::spawn(server.run(std::future::pending()));
        for (name, role, scope, disabled) in [
            ("root", "administrator", Scope::ALL, false),
            ("amy", "administrator", Scope::ALL, false),
            ("dan", "deployer", Scope::ALL, false),
            ("vic", "viewer", Scope::ALL, false),
            ("sue", "administrator", limited(), false),
            ("out", "administrator", Scope::ALL, true),
        ] {
            house.user(name, role, scope, disabled);
        }
        house
    }

    fn user(&self, name: &'static str, role: &str, scope: Scope, disabled: bool) {
        let now = self.app.clock.now();
        let user = User {
            name: name.to_owned(),
            password_hash:
                "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                    .to_owned(),
            must_change_password: false,
            full_name: String::new(),
            mail: String::new(),
            role: role.to_owned(),
            scope,
            one_time_secret: None,
            one_time_step: 0,
            disabled_at: disabled.then_some(now),
            last_sign_in: None,
            created_at: now,
        };
        assert!(self.app.store.write_now(move |conn| users::create(conn, &user)).expect("a user"));
        self.session(name);
    }

    /// Signs somebody in with a secret that everybody here knows.
    fn session(&self, name: &str) {
        let now = self.app.clock.now();
        let session = Session {
            digest: Sha256::digest(name).into(),
            user: name.to_owned(),
            created_at: now,
            seen_at: now,
            expires_at: UnixTime::from_millis(now.millis() + 3_600_000),
            peer_address: "127.0.0.1".to_owned(),
            user_agent: "a browser".to_owned(),
            locked_to: None,
        };
        let known = self.app.store.read_now({
            let digest = session.digest;
            move |conn| sessions::find(conn, &digest)
        });
        if known.expect("a look").is_none() {
            self.app.store.write_now(move |conn| sessions::open(conn, &session)).expect("signed in");
        }
    }

    fn token(&self, user: &str, rights: Rights) -> String {
        self.token_within(user, rights, Scope::ALL)
    }

    /// A token with a scope of its own.
    fn token_within(&self, user: &str, rights: Rights, scope: Scope) -> String {
        let token = Token {
            id: 0,
            name: "test".to_owned(),
            user: user.to_owned(),
            rights,
            scope,
            created_at: self.app.clock.now(),
            expires_at: None,
            last_used_at: None,
            last_peer: String::new(),
        };
        signin::new_token(&self.app, &token).expect("a token").1
    }

    async fn ask(&self, request: Request<Body>) -> Response {
        let mut request = request;
        request.extensions_mut().insert(Listener::Https);
        request.extensions_mut().insert(Remote(SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000))));
        self.routes.clone().oneshot(request).await.expect("an answer")
    }

    /// As a browser in which `who` is signed in.
    async fn browse(&self, who: Option<&str>, method: &str, address: &str) -> Response {
        let request = Request::builder().method(method).uri(address);
        let request = match who {
            Some(who) => request.header(COOKIE, format!("__Host-dripfeed={who}")),
            None => request,
        };
        let form = match who {
            Some(who) if method == "POST" => format!("csrf={}", signin::form_secret(who)),
            _ => String::new(),
        };
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.header("content-length", form.len());
        self.ask(request.body(Body::from(form)).expect("a request")).await
    }

    async fn call(&self, authorization: Option<&str>, method: &str, address: &str) -> Response {
        let request = Request::builder().method(method).uri(format!("/api/v1{address}"));
        let request = match authorization {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let document = match (method, address) {
            ("GET" | "DELETE", _) => "",
            (_, "/webhooks") => r#"{"name":"a","url":"not one"}"#,
            ("PUT", address) if address.starts_with("/webhooks/") => r#"{"name":"a","url":"b","enabled":true}"#,
            (_, "/fields") => r#"{"name":"a"}"#,
            (_, "/field-order") => r#"{"fields":[]}"#,
            (_, "/mirrors") => r#"{"name":"a","location":"h/a"}"#,
            (_, "/sites") => r#"{"name":"a","ranges":["192.0.2.0/24"],"mirrors":["a"]}"#,
            (_, "/registry-questions") => r#"{"name":"a","tree":"HKLM","key":"SOFTWARE"}"#,
            ("PUT", address) if address.starts_with("/mirrors/") => r#"{"location":"h/a"}"#,
            ("PUT", address) if address.starts_with("/sites/") => r#"{"ranges":["192.0.2.0/24"],"mirrors":["a"]}"#,
            ("PUT", address) if address.starts_with("/registry-questions/") => r#"{"key":"SOFTWARE"}"#,
            (_, "/series") | ("PUT", "/series/1795168801") => r#"{"deployment":{},"repeat":"every hour"}"#,
            (_, "/tokens") => r#"{"name":"another","rights":[]}"#,
            (_, address) if address.starts_with("/settings/") => r#"{"value":24}"#,
            _ => "{}",
        };
        let request = request.header(CONTENT_TYPE, "application/json").header("content-length", document.len());
        self.ask(request.body(Body::from(document)).expect("a request")).await
    }
}

fn limited() -> Scope {
    Scope::parse(Some("tag = elsewhere"), Some("elsewhere*")).expect("a scope")
}

/// A path with something in its braces that nobody has, but for settings.
fn filled(path: &str) -> String {
    let mut filled = String::new();
    for part in path.split('/').skip(1) {
        filled.push('/');
        filled.push_str(match part {
            "{key}" => "PROLOG_FREQ",
            part if part.starts_with('{') => "1795168801",
            part => part,
        });
    }
    filled
}

fn everybody() -> [Somebody; 4] {
    let one = |name, rights, limited| Somebody { name, rights, limited };
    [
        one("amy", Rights::all(), false),
        one("dan", Rights::deployer(), false),
        one("vic", Rights::viewer(), false),
        one("sue", Rights::all(), true),
    ]
}

fn is_allowed(who: &Somebody, needs: Needs) -> bool {
    match needs {
        Anybody | Person => true,
        Only(right) => who.rights.contains(right),
        Whole(right) => who.rights.contains(right) && !who.limited,
    }
}

/// A row as it is written in a table.
fn row(method: &Method, path: &str, right: Option<Right>) -> String {
    let needs = right.map_or("Anybody".to_owned(), |right| format!("Only(Right::{right:?})"));
    format!("(\"{method}\", \"{path}\", {needs}),")
}

/// Compares a table with the routes: same rows, same rights.
fn same(table: &[(&str, &str, Needs)], routes: &[(Method, &'static str, Option<Right>)]) {
    let known: BTreeMap<(&str, &str), Needs> = table.iter().map(|row| ((row.0, row.1), row.2)).collect();
    assert_eq!(known.len(), table.len(), "a row stands in the table twice");
    let lacking: Vec<String> = routes
        .iter()
        .filter(|(method, path, right)| {
            let right_of = |needs: &Needs| match needs {
                Anybody | Person => None,
                Only(right) | Whole(right) => Some(*right),
            };
            known.get(&(method.as_str(), *path)).map(right_of) != Some(*right)
        })
        .map(|(method, path, right)| row(method, path, *right))
        .collect();
    assert!(lacking.is_empty(), "decide who may, and put these rows into the table:\n{}", lacking.join("\n"));
    let gone: Vec<_> =
        known.keys().filter(|key| !routes.iter().any(|route| (route.0.as_str(), route.1) == **key)).collect();
    assert!(gone.is_empty(), "there are no such routes any more: {gone:?}");
}

#[test]
fn every_page_stands_in_the_table() {
    let pages: Vec<_> = console::pages().iter().map(|page| (page.method.clone(), page.path, page.right)).collect();
    same(PAGES, &pages);
}

#[test]
fn every_operation_stands_in_the_table() {
    let all: Vec<_> = api::operations().iter().map(|one| (one.method.clone(), one.path, one.right)).collect();
    same(OPERATIONS, &all);
}

#[tokio::test]
async fn pages_are_for_whom_the_table_says() {
    let house = House::new();
    let mut wrong = Vec::new();
    for &(method, path, needs) in PAGES {
        let address = filled(path);
        let nobody = house.browse(None, method, &address).await;
        let to = nobody.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match method {
            "GET" => assert!(nobody.status() == StatusCode::SEE_OTHER && to.starts_with("/sign-in"), "{path}: {to}"),
            _ => assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED, "{method} {path}"),
        }
        let out = house.browse(Some("out"), method, &address).await;
        assert_eq!(out.status(), nobody.status(), "{method} {path}: somebody who was locked out");
        for who in everybody() {
            let status = house.browse(Some(who.name), method, &address).await.status();
            let refused = status == StatusCode::FORBIDDEN;
            if refused == is_allowed(&who, needs) {
                wrong.push(format!("{method} {path} by {}: {status}", who.name));
            }
            assert!(!status.is_server_error(), "{method} {path} by {}: {status}", who.name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn operations_are_for_whom_the_table_says() {
    let house = House::new();
    let mut wrong = Vec::new();
    let tokens: Vec<(Somebody, String)> = everybody()
        .into_iter()
        .map(|who| {
            let token = house.token(who.name, Rights::all());
            (who, token)
        })
        .collect();
    // Somebody's whose scope is everything, with less: it may what somebody with that scope may, and no more.
    let narrow = (
        Somebody { name: "amy's narrow token", rights: Rights::all(), limited: true },
        house.token_within("amy", Rights::all(), limited()),
    );
    let tokens: Vec<(Somebody, String)> = tokens.into_iter().chain([narrow]).collect();
    let powerless = house.token("root", Rights::default());
    let out = house.token("out", Rights::all());
    for &(method, path, needs) in OPERATIONS {
        let address = filled(path);
        for (who, authorization) in [("nobody", None), ("a wrong token", Some("drip_x")), ("out", Some(&*out))] {
            let status = house.call(authorization, method, &address).await.status();
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} by {who}");
        }
        // A token that holds every right has those of its owner only.
        for (who, token) in &tokens {
            let status = house.call(Some(token), method, &address).await.status();
            let allowed = is_allowed(who, needs) && (needs != Person || who.rights.contains(Right::EditUsers));
            if (status == StatusCode::FORBIDDEN) == allowed {
                wrong.push(format!("{method} {path} by {}: {status}", who.name));
            }
            assert!(!status.is_server_error(), "{method} {path} by {}: {status}", who.name);
        }
        let status = house.call(Some(&powerless), method, &address).await.status();
        assert_eq!(status == StatusCode::FORBIDDEN, needs != Anybody, "{method} {path} by a token that may nothing");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_page_keeps_itself_to_itself() {
    let house = House::new();
    for &(method, path, _) in PAGES {
        let response = house.browse(Some("amy"), method, &filled(path)).await;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(header("cache-control"), "no-store", "{method} {path}");
        if !header("content-type").starts_with("text/html") {
            continue;
        }
        assert_eq!(header("x-frame-options"), "DENY", "{method} {path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{method} {path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{method} {path}");
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{method} {path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{method} {path}: {policy}");
        let bytes = axum::body::to_bytes(response.into_body(), 4 << 20).await.expect("a page");
        let text = String::from_utf8_lossy(&bytes);
        for forbidden in [" style=", "<style", " onclick=", " onload=", "<script>"] {
            assert!(!text.contains(forbidden), "{method} {path} holds {forbidden}");
        }
    }
}

#[tokio::test]
async fn a_form_without_its_secret_changes_nothing() {
    let house = House::new();
    for &(method, path, _) in PAGES.iter().filter(|row| row.0 == "POST") {
        for form in [String::new(), "csrf=".to_owned(), format!("csrf={}", signin::form_secret("vic"))] {
            let request = Request::builder()
                .method(method)
                .uri(filled(path))
                .header(COOKIE, "__Host-dripfeed=amy")
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header("content-length", form.len());
            let status = house.ask(request.body(Body::from(form.clone())).expect("a request")).await.status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} with {form:?}");
        }
    }
    // A program that takes a browser's cookie for a token is held to the same.
    let request = Request::builder().method("DELETE").uri("/api/v1/tokens/1").header(COOKIE, "__Host-dripfeed=amy");
    let response = house.ask(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let changed = house.app.store.read_now(|conn| audit::list(conn, &audit::Wanted::default(), 10));
    assert!(changed.expect("the log").is_empty());
}

#[tokio::test]
async fn whoever_is_locked_out_is_out_at_the_next_click() {
    let house = House::new();
    let token = house.token("dan", Rights::all());
    assert_eq!(house.browse(Some("dan"), "GET", "/packages").await.status(), StatusCode::OK);
    assert_eq!(house.call(Some(&token), "GET", "/packages").await.status(), StatusCode::OK);
    let done = house.browse(Some("amy"), "POST", "/users/one/dan/disable").await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.browse(Some("dan"), "GET", "/packages").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(house.call(Some(&token), "GET", "/packages").await.status(), StatusCode::UNAUTHORIZED);
    // The session ended, too: being let in again does not bring it back.
    house.browse(Some("amy"), "POST", "/users/one/dan/enable").await;
    assert_eq!(house.browse(Some("dan"), "GET", "/packages").await.status(), StatusCode::SEE_OTHER);
}
