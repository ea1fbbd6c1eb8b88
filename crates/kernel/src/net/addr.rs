//! Socket addresses as the guest writes them (`sockaddr_un`, `sockaddr_in`, `sockaddr_in6`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::errno::Errno;

/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `AF_INET`.
pub const AF_INET: u16 = 2;
/// `AF_INET6`.
pub const AF_INET6: u16 = 10;
/// Longest address in bytes (`sockaddr_storage`).
pub const ADDRESS_MAX: u32 = 128;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `AF_UNIX` with a path; empty when unnamed.
    Unix(String),
    /// `AF_INET` or `AF_INET6`.
    Inet(SocketAddr),
}

impl Address {
    /// Reads what a guest passed to `bind` or `connect`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Errno> {
        let (family, rest) = bytes.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
        match u16::from_le_bytes(*family) {
            AF_UNIX => {
                let path = rest.split(|&byte| byte == 0).next().unwrap_or_default();
                if path.is_empty() && !rest.is_empty() {
                    // Linux's abstract names are not there.
                    return Err(Errno::EINVAL);
                }
                String::from_utf8(path.to_vec())
                    .map(Self::Unix)
                    .map_err(|_| Errno::EINVAL)
            }
            AF_INET => {
                let (port, rest) = rest.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
                let ip = *rest.first_chunk::<4>().ok_or(Errno::EINVAL)?;
                Ok(Self::Inet(SocketAddr::new(
                    IpAddr::V4(Ipv4Addr::from(ip)),
                    u16::from_be_bytes(*port),
                )))
            }
            AF_INET6 => {
                let (port, rest) = rest.split_first_chunk::<2>().ok_or(Errno::EINVAL)?;
                let (flow, rest) = rest.split_first_chunk::<4>().ok_or(Errno::EINVAL)?;
                let (ip, rest) = rest.split_first_chunk::<16>().ok_or(Errno::EINVAL)?;
                let scope = *rest.first_chunk::<4>().ok_or(Errno::EINVAL)?;
                let (flow, scope) = (u32::from_be_bytes(*flow), u32::from_le_bytes(scope));
                Ok(Self::Inet(
                    SocketAddrV6::new(Ipv6Addr::from(*ip), u16::from_be_bytes(*port), flow, scope)
                        .into(),
                ))
            }
            _ => Err(Errno::EAFNOSUPPORT),
        }
    }

    /// The guest's form.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Unix(path) => {
                let mut out = AF_UNIX.to_le_bytes().to_vec();
                if !path.is_empty() {
                    out.extend_from_slice(path.as_bytes());
                    out.push(0);
                }
                out
            }
            Self::Inet(SocketAddr::V4(address)) => {
                let mut out = AF_INET.to_le_bytes().to_vec();
                out.extend(address.port().to_be_bytes());
                out.extend(address.ip().octets());
                out.extend([0; 8]);
                out
            }
            Self::Inet(SocketAddr::V6(address)) => {
                let mut out = AF_INET6.to_le_bytes().to_vec();
                out.extend(address.port().to_be_bytes());
                out.extend(address.flowinfo().to_be_bytes());
                out.extend(address.ip().octets());
                out.extend(address.scope_id().to_le_bytes());
                out
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_round_trip() {
        for address in [
            Address::Unix(String::new()),
            Address::Unix("/run/postgresql/.s.PGSQL.5432".to_owned()),
            Address::Inet("127.0.0.1:5432".parse().unwrap()),
            Address::Inet("[::1]:65535".parse().unwrap()),
        ] {
            assert_eq!(Address::parse(&address.bytes()).unwrap(), address);
        }
        assert_eq!(Address::parse(&[2, 0, 1]), Err(Errno::EINVAL));
        assert_eq!(
            Address::parse(&[1, 0, 0, b'x']),
            Err(Errno::EINVAL),
            "no abstract names"
        );
        assert_eq!(Address::parse(&[16, 0, 0, 0]), Err(Errno::EAFNOSUPPORT));
    }
}
