//! Carries requests to the simulated Vault, or loses them.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::time::sleep;

use super::conditions::Conditions;
use super::vault::Answer;
use super::world::{State, World};
use crate::system::simulated::{FromVault, MaybeSent, Outside, ToVault};

/// The network of a world.
#[derive(Debug)]
pub(super) struct Network(pub(super) Arc<World>);

/// What becomes of a request.
struct Fate {
    there: Duration,
    back: Duration,
    end: End,
    is_stale: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused,
    RequestLost,
    ResponseLost,
    Broken,
    Cut,
    Fails,
    Throttled,
    Proxy,
    Answered,
}

impl Fate {
    fn draw(state: &mut State, endpoint: usize) -> Self {
        let Conditions {
            delay,
            refused,
            request_lost,
            response_lost,
            broken,
            cut,
            fails,
            throttles,
            proxy,
            is_stale,
        } = state.conditions[endpoint].clone();
        let chances = [
            (refused, End::Refused),
            (request_lost, End::RequestLost),
            (response_lost, End::ResponseLost),
            (broken, End::Broken),
            (cut, End::Cut),
            (fails, End::Fails),
            (throttles, End::Throttled),
            (proxy, End::Proxy),
        ];
        let rng = &mut state.rng;
        let mut end = End::Answered;
        for (chance, one) in chances {
            if end == End::Answered && rng.f64() < chance {
                end = one;
            }
        }
        Self {
            there: Duration::from_micros(rng.u64(100..=delay * 1000)),
            back: Duration::from_micros(rng.u64(100..=delay * 1000)),
            end,
            is_stale,
        }
    }
}

impl Outside for Network {
    fn vault(&self, request: ToVault) -> BoxFuture<'static, FromVault> {
        let world = self.0.clone();
        Box::pin(async move {
            let endpoint = usize::from(request.address.ends_with("8201"));
            let fate = Fate::draw(&mut world.state(), endpoint);
            sleep(fate.there).await;
            let what = format!("vault{endpoint} {} {}", request.method, request.path);
            match fate.end {
                End::Refused | End::RequestLost => {
                    world.note(&format!("{what}: {:?}", fate.end));
                    if fate.end == End::RequestLost {
                        pending::<()>().await;
                    }
                    return Err(MaybeSent(false));
                }
                _ => {}
            }
            let (status, body) = answer(&world, &request, &fate);
            world.note(&format!("{what}: {status} {:?}", fate.end));
            sleep(fate.back).await;
            match fate.end {
                End::ResponseLost => pending().await,
                End::Broken => Err(MaybeSent(true)),
                End::Cut => Ok(cut(status, &body)),
                End::Proxy => Ok(response(502, "<html>Bad Gateway</html>".into())),
                _ if status == 204 => Ok(response(204, reqwest::Body::default())),
                _ => Ok(response(status, body.to_string().into())),
            }
        })
    }

    fn wall_time(&self) -> SystemTime {
        self.0.state().wall_time()
    }

    fn boot(&self) -> String {
        format!("{:032}", self.0.state().boots)
    }
}

fn answer(world: &World, request: &ToVault, fate: &Fate) -> Answer {
    let mut state = world.state();
    let now = state.now();
    match fate.end {
        End::Fails => {
            let text = "1 error occurred:\n\t* internal error\n\n";
            (500, serde_json::json!({ "errors": [text] }))
        }
        End::Throttled => {
            let text = "request path \"x\": rate limit quota exceeded";
            (429, serde_json::json!({ "errors": [text] }))
        }
        End::Proxy => (502, Value::Null),
        _ => {
            let body = serde_json::from_slice(&request.body).unwrap_or_default();
            let token = request.token.as_deref();
            state
                .vault
                .answer(&request.path, token, &body, now, fate.is_stale)
        }
    }
}

fn response(status: u16, body: reqwest::Body) -> http::Response<reqwest::Body> {
    let built = http::Response::builder().status(status).body(body);
    built.expect("a status")
}

/// A body that breaks in its middle.
fn cut(status: u16, body: &Value) -> http::Response<reqwest::Body> {
    let text = body.to_string();
    let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
    let broken = io::Error::other("the connection broke");
    let frames = futures_util::stream::iter([Ok(Frame::data(half)), Err(broken)]);
    response(status, reqwest::Body::wrap(StreamBody::new(frames)))
}
