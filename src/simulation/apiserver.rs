//! A client that calls as kube-apiserver does: Status, an Encrypt for each new key_id, Decrypts.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::sleep;
use tonic::Status;

use super::checks::Stored;
use super::world::World;
use crate::grpc::KmsClient;

const DEADLINE: Duration = Duration::from_secs(3);

/// One connection at a time.
struct Apiserver {
    world: Arc<World>,
    name: String,
    /// The key_id of the seed that it writes with.
    seed: Option<String>,
}

/// The connection broke.
struct Broken;

/// Calls until it is dropped.
pub(super) async fn run(world: Arc<World>, name: String) {
    let mut apiserver = Apiserver {
        world,
        name,
        seed: None,
    };
    loop {
        if let Some(client) = connect(&apiserver.world).await {
            let Broken = apiserver.calls(client).await;
            let name = &apiserver.name;
            apiserver.world.note(&format!("{name} disconnected"));
            sleep(Duration::from_millis(1)).await;
        } else {
            sleep(Duration::from_secs(1)).await;
        }
    }
}

pub(super) async fn connect(world: &World) -> Option<KmsClient> {
    let stream = UnixStream::connect(world.path("kms.sock")).await.ok()?;
    KmsClient::over(stream, DEADLINE).await.ok()
}

/// Whether the connection broke, rather than the plugin answered.
fn is_broken(error: &Status) -> bool {
    std::error::Error::source(error).is_some()
        || error.message().starts_with("Service was not ready")
}

impl Apiserver {
    async fn calls(&mut self, mut client: KmsClient) -> Broken {
        loop {
            if let Err(broken) = self.round(&mut client).await {
                return broken;
            }
            let wait = self.world.state().rng.u64(500..20_000);
            sleep(Duration::from_millis(wait)).await;
        }
    }

    async fn round(&mut self, client: &mut KmsClient) -> Result<(), Broken> {
        let began = self.world.now();
        let announced = match client.status().await {
            Ok(answer) => {
                let mut state = self.world.state();
                state.check_status(began, &self.name, &answer);
                answer.key_id
            }
            Err(error) => return self.failed(began, "Status", &error),
        };
        // kube-apiserver encrypts at once; another client, or a slow host, may not.
        if self.world.state().rng.u8(..3) == 0 {
            let wait = self.world.state().rng.u64(..40_000);
            sleep(Duration::from_millis(wait)).await;
        }
        let encrypts = self.seed.as_ref() != Some(&announced) || self.world.state().rng.bool();
        if encrypts {
            self.encrypt(client, &announced).await?;
        }
        let decrypts = self.world.state().rng.u8(..4);
        for _ in 0..decrypts {
            let stored = {
                let mut state = self.world.state();
                let count = state.checks.stored.len();
                let index = (count > 0).then(|| state.rng.usize(..count));
                index.map(|index| state.checks.stored[index].clone())
            };
            if let Some(stored) = stored {
                self.decrypt(client, &stored).await?;
            }
        }
        Ok(())
    }

    async fn encrypt(&mut self, client: &mut KmsClient, announced: &str) -> Result<(), Broken> {
        let (began, seed) = {
            let mut state = self.world.state();
            let seed: [u8; 32] = std::array::from_fn(|_| state.rng.u8(..));
            (state.now(), seed)
        };
        match client.encrypt(&seed).await {
            Ok(response) => {
                self.seed = Some(response.key_id.clone());
                let mut state = self.world.state();
                state.check_encrypt(&self.name, announced, &seed, response);
                Ok(())
            }
            Err(error) => self.failed(began, "Encrypt", &error),
        }
    }

    async fn decrypt(&mut self, client: &mut KmsClient, stored: &Stored) -> Result<(), Broken> {
        let began = self.world.now();
        match client.decrypt(stored.response.clone()).await {
            Ok(plaintext) => {
                let mut state = self.world.state();
                state.check_decrypt(&self.name, stored, &plaintext);
                Ok(())
            }
            Err(error) => {
                let mut state = self.world.state();
                if !is_broken(&error) && !state.is_readable(stored) {
                    state.note(&format!("{} Decrypt of what is lost", self.name));
                    return Ok(());
                }
                drop(state);
                self.failed(began, "Decrypt", &error)
            }
        }
    }

    fn failed(&self, began: Duration, what: &str, error: &Status) -> Result<(), Broken> {
        if is_broken(error) {
            return Err(Broken);
        }
        let mut state = self.world.state();
        state.check_error(began, &self.name, what, error);
        Ok(())
    }
}

/// After the last fault: Status is ok, and whatever Vault can decrypt decrypts.
pub(super) async fn audit(world: &World) {
    let Some(mut client) = connect(world).await else {
        return world.state().violation("no connection at the end");
    };
    let began = world.now();
    match client.status().await {
        Ok(answer) => world.state().check_status(began, "audit", &answer),
        Err(error) => world.state().check_error(began, "audit", "Status", &error),
    }
    let all = world.state().checks.stored.clone();
    for stored in all {
        let began = world.now();
        let decrypted = client.decrypt(stored.response.clone()).await;
        let mut state = world.state();
        match decrypted {
            Ok(plaintext) => state.check_decrypt("audit", &stored, &plaintext),
            Err(error) if state.is_readable(&stored) => {
                state.check_error(began, "audit", "Decrypt", &error);
                state.violation("what Vault can decrypt is not readable");
            }
            Err(_) => state.note("audit: lost"),
        }
    }
}
