//! Renews the site's certificate by itself, in the middle of its life.

use std::sync::Arc;
use std::time::Duration;

use super::Uplink;
use super::back_off::{BackOff, random_octet};
use super::error::{UplinkError, in_one_line};
use crate::clock::{self, Timestamp};
use crate::edge::identity::IdentityError;
use crate::edge::state::StateError;
use crate::pki::certificate::Validity;
use crate::pki::request::{KeyError, TlsKey};
use crate::wire::uplink::{RenewAnswer, RenewRequest};

/// Why the certificate is still the old one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewalError {
    /// The box can't make a key.
    #[error("cannot make a new key")]
    Key(#[source] KeyError),
    /// The cloud can't be asked, or refuses.
    #[error("cannot renew the site's certificate")]
    Uplink(#[source] UplinkError),
    /// What the cloud issued can't be used.
    #[error("the new certificate can't be used")]
    BadAnswer(#[source] IdentityError),
    /// The disk refuses: the old one is still good, so it stays in use.
    #[error("cannot store the new certificate")]
    Store(#[source] StateError),
}

const BACK_OFF: BackOff = BackOff::new(Duration::from_secs(30), Duration::from_secs(3600));
/// A sleeping box's clock jumps: it looks again now and then instead of sleeping through half a life.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Renews the certificate for ever.
pub async fn follow(uplink: Arc<Uplink>) {
    let mut back_off = BACK_OFF;
    loop {
        let validity = uplink.identity().validity();
        let pause = pause_before_renewal(validity, clock::now());
        if !pause.is_zero() {
            tokio::time::sleep(pause.min(LONGEST_SLEEP)).await;
            continue;
        }
        match renew(&uplink).await {
            Ok(validity) => {
                back_off.succeeded();
                tracing::info!(until = %validity.not_after, "renewed the site's certificate");
            }
            Err(error) => {
                // A certificate of an hour is tried again within that hour.
                let pause = back_off.failed(random_octet()).min(validity.left(clock::now()).max(Duration::from_secs(60)) / 4);
                let left = validity.left(clock::now());
                if left.is_zero() {
                    tracing::error!(
                        hint = "make a new token with `fairlead-cloud site token NAME` and run `fairlead-edge join --replace`",
                        "the site's certificate is over since {} and can't be renewed: {}",
                        validity.not_after,
                        in_one_line(&error)
                    );
                } else {
                    tracing::warn!(
                        "{}; the old one is good until {}; next try in {} s",
                        in_one_line(&error),
                        validity.not_after,
                        pause.as_secs()
                    );
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// How long to wait until half of the certificate's life is over; zero when it is.
fn pause_before_renewal(validity: Validity, now: Timestamp) -> Duration {
    validity.half_life().since(now)
}

/// Renews with a new key: a copy of the old one is worth nothing when the old certificate ends.
async fn renew(uplink: &Uplink) -> Result<Validity, RenewalError> {
    let key = TlsKey::generate().map_err(RenewalError::Key)?;
    let request = RenewRequest { csr: key.certificate_request().map_err(RenewalError::Key)? };
    let answer: RenewAnswer = uplink.client().post("/site/v1/renew", &request).await.map_err(RenewalError::Uplink)?;
    let identity = uplink.identity().renewed(key, answer.certificate_chain).map_err(RenewalError::BadAnswer)?;
    uplink.state.store_identity(&identity).map_err(RenewalError::Store)?;
    let validity = identity.validity();
    uplink.adopt(identity).map_err(RenewalError::Uplink)?;
    Ok(validity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_renewed_in_the_middle_of_its_life() {
        let validity = Validity { not_before: Timestamp::from_secs(1000), not_after: Timestamp::from_secs(2000) };
        let pause = |now| pause_before_renewal(validity, Timestamp::from_secs(now)).as_secs();
        assert_eq!((pause(1100), pause(1500), pause(9000)), (400, 0, 0));
    }
}
