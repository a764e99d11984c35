//! `/api/auth`: login, registration, refresh, logout, and who am I. And what administrators do to accounts.

use hyper::header::{HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Fault, bytes, json, message};
use super::cookie::{self, clearing};
use super::credential::Caller;
use super::route::Admin;
use super::state::{Role, Standing, State, User, random_hex, timestamp, uuid};
use super::{Call, World};

/// What is public of an account after signing in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile<'a> {
    id: &'a str,
    display_name: &'a str,
    email: &'a str,
    avatar_url: Option<&'a str>,
    is_admin: bool,
}

impl<'a> From<&'a User> for Profile<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: &user.id,
            display_name: &user.display_name,
            email: &user.email,
            avatar_url: None,
            is_admin: user.role == Role::Admin,
        }
    }
}

/// `GET /api/auth/status`.
pub(super) fn status() -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        registration_enabled: bool,
        registration_mode: &'static str,
        demo_mode: bool,
        qr_payload_mode: &'static str,
        self_hosted: bool,
        attachments_enabled: bool,
        oauth_providers: [&'static str; 0],
    }
    json(
        200,
        &Status {
            registration_enabled: true,
            registration_mode: "open",
            demo_mode: false,
            qr_payload_mode: "app",
            self_hosted: true,
            attachments_enabled: true,
            oauth_providers: [],
        },
    )
}

/// `GET /api/auth/me`.
pub(super) fn me(caller: &Caller, state: &State) -> Result<Answer, Fault> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Me<'a> {
        id: &'a str,
        display_name: &'a str,
        email: &'a str,
        avatar_url: Option<&'a str>,
        active_location_id: Option<&'a str>,
        demo_mode: bool,
        created_at: &'a str,
        updated_at: &'a str,
        plan: &'static str,
        subscription_status: &'static str,
        active_until: Option<&'a str>,
        is_admin: bool,
        has_password: bool,
        deletion_requested_at: Option<&'a str>,
        deletion_scheduled_at: Option<&'a str>,
    }
    let user = state.user(&caller.user_id).ok_or(Fault::NotFound("User not found"))?;
    let created_at = timestamp(user.created_at);
    let me = Me {
        id: &user.id,
        display_name: &user.display_name,
        email: &user.email,
        avatar_url: None,
        active_location_id: None,
        demo_mode: false,
        created_at: &created_at,
        updated_at: &created_at,
        plan: "plus",
        subscription_status: "active",
        active_until: None,
        is_admin: user.role == Role::Admin,
        has_password: true,
        deletion_requested_at: None,
        deletion_scheduled_at: None,
    };
    Ok(json(200, &me))
}

/// A text field of a JSON body; `None` where it is missing, empty or something else.
fn field<'a>(body: &'a Value, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

impl World {
    /// `POST /api/auth/login`. Unknown, wrong, suspended and deleted look alike.
    pub(super) fn login(&self, call: &Call, state: &mut State) -> Result<Answer, Fault> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Login<'a> {
            user: Profile<'a>,
            active_location_id: Option<&'a str>,
        }
        const NO: Fault = Fault::Unauthorized("Invalid email or password");
        let (Some(email), Some(password)) = (field(&call.body, "email"), field(&call.body, "password"))
        else {
            return Err(Fault::Invalid("Email and password required"));
        };
        let user = state.user_by_email(email).ok_or(NO)?.clone();
        let right = self.signer.digest_matches(password, &user.password_digest);
        if !right || matches!(user.standing, Standing::Suspended | Standing::Deleted) {
            return Err(NO);
        }
        let answer = json(200, &Login { user: Profile::from(&user), active_location_id: None });
        let refresh = state.families.begin(&user.id, call.now);
        Ok(self.with_session(answer, &user, user.token_version, &refresh, call))
    }

    /// `POST /api/auth/register`.
    pub(super) fn register(&self, call: &Call, state: &mut State) -> Result<Answer, Fault> {
        #[derive(Serialize)]
        struct Registered<'a> {
            user: Profile<'a>,
        }
        let (Some(email), Some(password)) = (field(&call.body, "email"), field(&call.body, "password"))
        else {
            return Err(Fault::Invalid("Email and password required"));
        };
        if state.user_by_email(email).is_some() {
            return Err(Fault::Conflict("Email already registered"));
        }
        let email = email.trim().to_lowercase();
        let user = User {
            id: uuid(),
            display_name: field(&call.body, "displayName").unwrap_or(&email).to_owned(),
            password_digest: self.signer.digest(password),
            role: Role::Member,
            standing: Standing::Good,
            token_version: 0,
            created_at: call.now,
            email,
        };
        state.users.push(user.clone());
        let refresh = state.families.begin(&user.id, call.now);
        let answer = json(201, &Registered { user: Profile::from(&user) });
        Ok(self.with_session(answer, &user, 0, &refresh, call))
    }

    /// `POST /api/auth/refresh`: one-time tokens.
    pub(super) fn refresh(&self, call: &Call, state: &mut State) -> Result<Answer, Fault> {
        const WORN: Fault = Fault::Unauthorized("Invalid or expired refresh token");
        let token = cookie::text(&call.headers, cookie::REFRESH);
        let token = token.ok_or(Fault::Unauthorized("No refresh token"))?;
        let Some(rotated) = state.families.rotate(&token, call.now) else {
            return Ok(cleared(WORN.into()));
        };
        let user = state.user(&rotated.user_id);
        let Some(user) = user.filter(|user| user.standing != Standing::Deleted) else {
            return Ok(cleared(Fault::Unauthorized("User not found").into()));
        };
        if user.standing == Standing::Suspended {
            let refused = Fault::Forbidden("This account has been suspended");
            return Ok(cleared(refused.into()));
        }
        let answer = message("Token refreshed");
        Ok(self.with_session(answer, user, user.token_version, &rotated.token, call))
    }

    fn with_session(
        &self,
        mut answer: Answer,
        user: &User,
        token_version: u64,
        refresh: &str,
        call: &Call,
    ) -> Answer {
        let token = self.signer.issue(&user.id, &user.email, token_version, call.now);
        set_cookies(
            answer.headers_mut(),
            [
                self.jar.access(&token, call.now),
                self.jar.csrf(&random_hex::<32>(), call.now),
                self.jar.refresh(refresh, call.now),
            ],
        );
        answer
    }
}

/// `POST /api/auth/logout`: ends the refresh token that is sent, never the session token.
pub(super) fn logout(call: &Call, state: &mut State) -> Answer {
    if let Some(token) = cookie::text(&call.headers, cookie::REFRESH) {
        state.families.end_token(&token);
    }
    cleared(message("Logged out"))
}

/// The way back from somebody else's login, which nobody began.
pub(super) fn oauth_callback() -> Answer {
    const TARGET: &str = "/?oauth=error&reason=invalid_state";
    let text = format!("Found. Redirecting to {TARGET}");
    let mut answer = bytes(302, "text/plain; charset=utf-8", text);
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(TARGET));
    answer
}

/// `POST /api/auth/logout-all`.
pub(super) fn logout_all(caller: &Caller, state: &mut State) -> Answer {
    state.families.end_user(&caller.user_id);
    cleared(message("Logged out of all sessions"))
}

fn cleared(mut answer: Answer) -> Answer {
    set_cookies(answer.headers_mut(), clearing());
    answer
}

fn set_cookies(headers: &mut HeaderMap, fields: [HeaderValue; 3]) {
    for field in fields {
        headers.append(SET_COOKIE, field);
    }
}

/// `/api/admin`: what administrators do to accounts.
pub(super) fn administrate(
    action: &Admin,
    caller: &Caller,
    state: &mut State,
    call: &Call,
) -> Result<Answer, Fault> {
    if caller.role != Role::Admin {
        return Err(Fault::Forbidden("Admin access required"));
    }
    let (id, text) = match action {
        Admin::Suspend(id) => (id, "User suspended"),
        Admin::Reactivate(id) => (id, "User reactivated"),
        Admin::RevokeSessions(id) => (id, "All sessions revoked"),
        Admin::RevokeKeys(id) => (id, "All API keys revoked"),
        Admin::Unknown => return Err(Fault::NotFound("Endpoint not found")),
    };
    let id = id.text()?;
    let user = state.user_mut(id).ok_or(Fault::NotFound("User not found"))?;
    match action {
        Admin::Suspend(_) => {
            user.standing = Standing::Suspended;
            user.token_version += 1;
        }
        Admin::Reactivate(_) => {
            if user.standing == Standing::Suspended {
                user.standing = Standing::Good;
            }
        }
        Admin::RevokeSessions(_) => {
            user.token_version += 1;
            state.families.end_user(id);
        }
        Admin::RevokeKeys(_) => {
            state.revoke_keys(id, call.now);
        }
        Admin::Unknown => {}
    }
    Ok(message(text))
}
