//! What PostgreSQL stores of a password (RFC 5802, RFC 7677): made here, so that the password itself is in no log and no statistics of the server.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// As often as PostgreSQL hashes passwords by default, and as some clients demand (JDBC's): people's passwords are to be expensive to guess.
pub(crate) const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");

/// Bytes of salt, as PostgreSQL's.
const SALT: usize = 16;

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The verifier of a password for `ALTER ROLE ... PASSWORD`. A client hashes the password `iterations` times whenever it connects.
pub(crate) fn verifier(password: &str, iterations: NonZeroU32) -> Result<String> {
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(Error::other)?;
    Ok(salted(password, &salt, iterations))
}

fn salted(password: &str, salt: &[u8], iterations: NonZeroU32) -> String {
    // What SASLprep refuses is taken as it is, as PostgreSQL and its clients do.
    let password = stringprep::saslprep(password).unwrap_or(password.into());
    // Hi() of RFC 5802.
    let mut block = mac(password.as_bytes(), &[salt, &1_u32.to_be_bytes()]);
    let mut hashed = block;
    for _ in 1..iterations.get() {
        block = mac(password.as_bytes(), &[&block]);
        for (all, byte) in hashed.iter_mut().zip(block) {
            *all ^= byte;
        }
    }
    let stored_key = Sha256::digest(mac(&hashed, &[b"Client Key"]));
    let server_key = mac(&hashed, &[b"Server Key"]);
    format!(
        "SCRAM-SHA-256${iterations}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_are_those_of_postgres_s_own_clients() {
        for password in ["secret", "", "IX\u{a0}\u{2168}", "\u{7}bell"] {
            let theirs = postgres_protocol::password::scram_sha_256(password.as_bytes());
            let (_, rest) = theirs.split_once(':').unwrap();
            let (salt, _) = rest.split_once('$').unwrap();
            let salt = STANDARD.decode(salt).unwrap();
            assert_eq!(salted(password, &salt, DEFAULT_ITERATIONS), theirs);
        }
    }

    #[test]
    fn each_has_a_salt_of_its_own() {
        let one = NonZeroU32::MIN;
        let verifiers = [(); 2].map(|()| verifier("secret", one).unwrap());
        assert!(verifiers[0].starts_with("SCRAM-SHA-256$1:"));
        assert_ne!(verifiers[0], verifiers[1]);
    }
}
