//! Keys and signed papers for a NATS server that asks who is there, made as its operators make them.
//!
//! An operator vouches for accounts, an account for a user, each by a JSON object with an Ed25519
//! signature. Invariant: whatever is not vouched for here is a stranger to a server with this configuration.

use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// A server's configuration, and the file by which a user of it shows who he is.
pub(crate) struct Papers {
    pub(crate) configuration: String,
    pub(crate) credentials: String,
}

impl Papers {
    pub(crate) fn made() -> Papers {
        let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
        let (account, user) = (KeyPair::new_account(), KeyPair::new_user());
        let of_operator = json!({"type": "operator", "version": 2});
        // The system's account may not have streams.
        let accounts = [(&system, "system", 0), (&account, "chat", -1)].map(|(key, name, most)| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": most,
                "disk_storage": most, "streams": most, "consumer": most
            });
            let of_account = json!({"type": "account", "version": 2, "limits": limits});
            signed(&operator, key, name, &of_account)
        });
        let of_user = json!({
            "type": "user", "version": 2, "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1
        });
        let (system, account_name) = (system.public_key(), account.public_key());
        let configuration = format!(
            "operator: {}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{\n  \
             {system}: {}\n  {account_name}: {}\n}}\n",
            signed(&operator, &operator, "operator", &of_operator),
            accounts[0],
            accounts[1],
        );
        let credentials = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            signed(&account, &user, "hub", &of_user),
            user.seed().expect("it was made here"),
        );
        Papers {
            configuration,
            credentials,
        }
    }
}

/// What `issuer` says of `subject`.
fn signed(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: &Value) -> String {
    let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let claims = json!({
        "jti": name, "iat": 1, "iss": issuer.public_key(), "name": name,
        "sub": subject.public_key(), "nats": nats
    });
    let text = format!("{}.{}", encode(&header), encode(&claims));
    let signature = issuer.sign(text.as_bytes()).expect("it has its seed");
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}
