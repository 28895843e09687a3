//! How somebody becomes an operator: by a password that the configuration has as it is, or as what
//! argon2 makes of it.
//!
//! That takes long, by intention, so it is done on a thread, and whoever has tried it waits. Invariant: of
//! a hash in the settings no more memory and time is taken than is said here.

use std::any::Any;

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use polyport_plugin::prelude::*;

use crate::Chat;
use crate::member::Stage;

/// Wrong passwords, after which a session ends.
const TRIES_MAX: u8 = 3;
/// What a hash may cost: memory in KiB, passes, and both multiplied.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 64;

/// The passwords of operators.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passwords {
    plain: Vec<String>,
    hashed: Vec<String>,
}

impl Passwords {
    pub(crate) fn of(list: &[&str]) -> Result<Passwords, String> {
        let mut passwords = Passwords::default();
        for text in list {
            if text.starts_with("$argon2") {
                check_hash(text).map_err(|why| format!("op_passwords: {why}"))?;
                passwords.hashed.push((*text).to_owned());
            } else if text.chars().count() < 8 {
                return Err("op_passwords: each has at least 8 characters".to_owned());
            } else {
                passwords.plain.push((*text).to_owned());
            }
        }
        Ok(passwords)
    }

    /// Whether it is one of those that are there as they are; how long that takes does not tell how much
    /// of it was right.
    fn is_plain(&self, tried: &str) -> bool {
        let same = |password: &String| {
            let differs = password
                .bytes()
                .zip(tried.bytes())
                .fold(0, |all, (a, b)| all | (a ^ b));
            password.len() == tried.len() && differs == 0
        };
        self.plain.iter().filter(|it| same(it)).count() > 0
    }
}

fn check_hash(text: &str) -> Result<(), String> {
    let hash = PasswordHash::new(text)
        .map_err(|error| format!("a hash of argon2 is not understood: {error}"))?;
    let number = |name: &str| hash.params.get_decimal(name).unwrap_or(0);
    if number("m") > MEMORY_KIB_MAX || number("t") > PASSES_MAX {
        return Err(format!(
            "a hash of argon2 has m of at most {MEMORY_KIB_MAX} and t of at most {PASSES_MAX}"
        ));
    }
    Ok(())
}

fn is_hashed(hashed: &[String], tried: &str) -> bool {
    let same = |text: &String| {
        let hash = PasswordHash::new(text);
        hash.is_ok_and(|hash| {
            Argon2::default()
                .verify_password(tried.as_bytes(), &hash)
                .is_ok()
        })
    };
    hashed.iter().any(same)
}

impl Chat {
    pub(crate) fn op(&mut self, cx: &mut Context, seat: u32, password: &str) {
        let is_right = self.choices.op_passwords.is_plain(password);
        let hashed = self.choices.op_passwords.hashed.clone();
        let Some(member) = self.member(seat) else {
            return;
        };
        if !member.is_local() {
            let text = "operators come from this machine only: a password would be read on the way";
            return self.tell(cx, seat, "error", text);
        }
        if is_right || hashed.is_empty() {
            return self.proved(cx, seat, is_right);
        }
        let session = member.session;
        let tried = password.to_owned();
        match cx.work(move || is_hashed(&hashed, &tried)) {
            Ok(work) => {
                member.stage = Stage::Proving;
                let _ = cx.pause(session);
                self.proofs.insert(work, (seat, session));
            }
            Err(_) => {
                let text = "too many passwords are looked at now; try again later";
                self.tell(cx, seat, "error", text);
            }
        }
    }

    /// A password was looked at.
    pub(crate) fn has_worked(
        &mut self,
        cx: &mut Context,
        work: WorkId,
        result: Result<Box<dyn Any + Send>>,
    ) {
        let Some((seat, session)) = self.proofs.remove(&work) else {
            return;
        };
        let Some(seat) = self.seat_of(seat, session) else {
            return;
        };
        let is_right = result.is_ok_and(|it| it.downcast().is_ok_and(|right| *right));
        if let Some(member) = self.member(seat)
            && member.stage == Stage::Proving
        {
            member.stage = Stage::Talking;
            self.proved(cx, seat, is_right);
            self.go_on(cx, seat);
        }
    }

    fn proved(&mut self, cx: &mut Context, seat: u32, is_right: bool) {
        let Some(member) = self.member(seat) else {
            return;
        };
        let session = member.session;
        if is_right {
            member.operator = true;
            cx.log(Level::Info, Some(session), "became an operator of the chat");
            let text = "you are an operator; /help lists what that lets you do";
            self.tell(cx, seat, "reply", text);
            return self.announce_self(cx, seat);
        }
        member.tries += 1;
        let tries = member.tries;
        let text = "a wrong password for operators of the chat";
        cx.log(Level::Warning, Some(session), text);
        self.tell(cx, seat, "error", "that is no operator's password");
        if tries >= TRIES_MAX {
            self.leave(cx, seat, "wrong passwords");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of "correct horse", by the program argon2 with m=8, t=1 and p=1.
    const HASH: &str =
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$H9YweMwoZaKj+u6urw6adAxV6iLhNwQ/DYbynE6J72M";

    #[test]
    fn a_password_is_known_as_it_is_and_by_its_hash() {
        let passwords = Passwords::of(&["battery staple", HASH]).expect("both are good");
        assert!(passwords.is_plain("battery staple"));
        assert!(!passwords.is_plain("battery stapl"), "a part of it");
        assert!(!passwords.is_plain(HASH), "the hash is no password");
        assert!(is_hashed(&passwords.hashed, "correct horse"));
        assert!(!is_hashed(&passwords.hashed, "battery staple"));
    }

    #[test]
    fn what_cannot_be_a_password_is_refused() {
        for (text, why) in [
            ("short", "8 characters"),
            ("$argon2id$nonsense", "not understood"),
            (
                "$argon2id$v=19$m=1048576,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
                "at most",
            ),
            (
                "$argon2id$v=19$m=8,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
                "at most",
            ),
        ] {
            let refused = Passwords::of(&[text]).expect_err(text);
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
