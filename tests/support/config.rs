//! Configurations as an operator would write them, for simulated vendors.
//!
//! Why: a daemon under test reads a file, like any other.
//! Must not know: which scenario it is for.

use std::path::Path;

use peakpost::job::topic::Topics;

use super::{World, canary};

/// The accounts of every world.
pub const PROVIDERS: [&str; 3] = ["mail", "sms", "hook"];

/// Every topic of a world's line.
pub fn topics(prefix: &str, tiers: &[String]) -> Topics {
    Topics::with(prefix, tiers, &PROVIDERS.map(str::to_owned))
}

/// Mail and text messages by an account each.
const ROUTES: &str =
    "[[routes]]\nchannel = \"email\"\nprovider = \"mail\"\n[[routes]]\nchannel = \"sms\"\nprovider = \"sms\"";
/// Mail by the second account where the first takes no more.
const SPARE_MAIL: &str = "[[routes]]\nchannel = \"email\"\nproviders = [\"mail\", \"sms\"]";

/// What scenarios change; the rest stays as shipped.
#[derive(Clone)]
pub struct Settings {
    /// Limits of the three accounts.
    pub mail: &'static str,
    pub sms: &'static str,
    pub hook: &'static str,
    /// Requests at a time, per account.
    pub concurrency: u32,
    /// Longest request, for all accounts.
    pub request_timeout: &'static str,
    /// Where the mail account's vendor is; `None`: with the others.
    pub mail_at: Option<std::net::SocketAddr>,
    /// Further keys of `[kafka]`, of `[log]` and of the accounts.
    pub kafka: &'static str,
    pub log: &'static str,
    pub mail_keys: &'static str,
    pub sms_keys: &'static str,
    pub hook_keys: &'static str,
    /// Whether the sms account is a second one for mail, which takes what the first does not.
    pub spare_mail: bool,
    /// Further sections.
    pub sections: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mail: "60_000 messages/s",
            sms: "8_000 messages/s",
            hook: "8_000 requests/s",
            concurrency: 64,
            request_timeout: "10s",
            mail_at: None,
            kafka: "",
            log: "",
            mail_keys: "",
            sms_keys: "",
            hook_keys: "",
            spare_mail: false,
            sections: "",
        }
    }
}

fn secret(dir: &Path, name: &str, value: &str) -> String {
    let path = dir.join(format!("{name}.secret"));
    std::fs::write(&path, value).unwrap();
    format!("file:{}", path.display())
}

impl Settings {
    /// The file.
    pub fn text(&self, world: &World) -> String {
        let Self { kafka, log, sections, .. } = self;
        let recipients = secret(world.dir(), "recipients", canary::RECIPIENT_KEY);
        let sasl = secret(world.dir(), "kafka", canary::KAFKA_PASSWORD);
        let (brokers, prefix, embedded) = (&world.brokers, &world.prefix, !world.real);
        let (tiers, accounts) = (&world.tiers, self.accounts(world));
        let routes = if self.spare_mail { SPARE_MAIL } else { ROUTES };
        format!(
            r#"
[kafka]
brokers = "{brokers}"
prefix = "{prefix}"
group = "{prefix}"
embedded = {embedded}
{kafka}
[kafka.client]
# Means nothing without SASL: a secret that must not be seen.
"sasl.password" = "{sasl}"
[topics]
replication = 1
[suppressions]
key = "{recipients}"
[delay]
tiers = {tiers:?}
[ops]
listen = "127.0.0.1:0"
[log]
format = "pretty"
{log}
[tenants."*"]
from = ["*"]
{sections}
{accounts}{routes}
[[routes]]
channel = "webhook"
provider = "hook"
"#
        )
    }

    /// The three accounts.
    fn accounts(&self, world: &World) -> String {
        let Self { mail, sms, hook, concurrency, request_timeout, mail_at, mail_keys, sms_keys, .. } = self;
        let hook_keys = self.hook_keys;
        let vendor = &world.vendor_config;
        let key = secret(world.dir(), "sendgrid", &vendor.sendgrid_key);
        let password = secret(world.dir(), "twilio", &vendor.twilio_password);
        let signing = secret(world.dir(), "webhook", &vendor.webhook_secret);
        let (base, sid) = (world.vendor_url(), &vendor.twilio_sid);
        let mail_base = mail_at.map_or_else(|| base.clone(), |addr| format!("http://{addr}"));
        let sms_account = match self.spare_mail {
            true => format!("kind = \"sendgrid\"\nbase_url = \"{base}\"\nkey = \"{key}\""),
            false => {
                format!("kind = \"twilio\"\nbase_url = \"{base}\"\naccount_sid = \"{sid}\"\npassword = \"{password}\"")
            }
        };
        let common = format!(
            "concurrency = {concurrency}\nrequest_timeout = \"{request_timeout}\"\nconnect_timeout = \"1s\"\nallow_hosts = [\"127.0.0.1\"]\n"
        );
        format!(
            r#"[[providers]]
name = "mail"
kind = "sendgrid"
base_url = "{mail_base}"
key = "{key}"
limits = ["{mail}"]
{mail_keys}
{common}
[[providers]]
name = "sms"
{sms_account}
limits = ["{sms}"]
{sms_keys}
{common}
[[providers]]
name = "hook"
kind = "webhook"
secret = "{signing}"
limits = ["{hook}"]
{hook_keys}
{common}
"#
        )
    }
}
