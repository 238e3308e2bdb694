//! What the pure parts of a call cost: `cargo bench --bench pure`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion};
use httlib_hpack::Encoder;
use vault_kms_plugin::grpc::authority::Repair;
use vault_kms_plugin::keys::{HealthLimits, KeyId, KeyView, status_now};
use vault_kms_plugin::session::SessionView;
use vault_kms_plugin::vault::{
    Ciphertext, KeyName, KeyVersion, MountPath, Namespace, TransitKey, VersionStamp,
};

fn main() {
    // `cargo test --all-targets` starts benches too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    authority(&mut criterion, "authority that goes by", b"localhost");
    let path = b"%2Frun%2Fvault-kms-plugin%2Fkms.sock";
    authority(&mut criterion, "authority that is fixed", path);
    values(&mut criterion);
    criterion.final_summary();
}

/// One request of a long connection: HEADERS and DATA in one read.
fn authority(criterion: &mut Criterion, name: &str, authority: &[u8]) {
    let mut reads = requests(authority);
    let mut preface = reads.remove(0);
    let mut repair = Repair::default();
    repair.rewrite(&mut preface);
    let mut next = reads.iter().cycle();
    criterion.bench_function(name, |bench| {
        bench.iter_batched_ref(
            || next.next().cloned().unwrap_or_default(),
            |read| repair.rewrite(black_box(read)),
            BatchSize::NumIterations(1),
        );
    });
}

fn values(criterion: &mut Criterion) {
    let text = format!("vault:v12:{}", "QUJD".repeat(20));
    criterion.bench_function("ciphertext of a client", |bench| {
        bench.iter(|| Ciphertext::try_new(black_box(text.clone()).into_bytes()));
    });
    let key = TransitKey {
        namespace: Namespace::try_new("platform").expect("a namespace"),
        mount: MountPath::try_new("transit").expect("a mount"),
        name: KeyName::try_new("kms").expect("a name"),
    };
    let version = KeyVersion::try_new(12).expect("a version");
    let moment = VersionStamp {
        created: 1_714_000_000,
        version,
    };
    let key_id = KeyId::new(&key, moment);
    criterion.bench_function("key_id that names a key", |bench| {
        bench.iter(|| KeyId::names(black_box(key_id.as_str()), &key));
    });
    let (keys, sessions) = (KeyView::default(), SessionView::default());
    let limits = HealthLimits {
        tolerance: Duration::from_secs(600),
        fail_after: Duration::from_secs(3600),
    };
    criterion.bench_function("what Status says", |bench| {
        bench.iter(|| status_now(black_box(&keys), &sessions, limits));
    });
}

/// The preface, then requests as grpc-go writes them: all fields indexed, a new timeout each time,
/// so that the authority is evicted and comes again.
fn requests(authority: &[u8]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with_dynamic_size(4096);
    let mut reads = vec![b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()];
    for number in 0..1000 {
        let timeout = format!("{}u", 2_999_000 - number);
        let fields: [(&[u8], &[u8]); 8] = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/v1beta1.KeyManagementService/Decrypt"),
            (b":authority", authority),
            (b"content-type", b"application/grpc"),
            (b"user-agent", b"grpc-go/1.82.1"),
            (b"te", b"trailers"),
            (b"grpc-timeout", timeout.as_bytes()),
        ];
        let mut block = Vec::new();
        for (name, value) in fields {
            let form = Encoder::BEST_FORMAT | Encoder::WITH_INDEXING | Encoder::HUFFMAN_VALUE;
            let field = (name.to_vec(), value.to_vec(), form);
            encoder.encode(field, &mut block).expect("a field");
        }
        let mut read = vec![0, 0, block.len() as u8, 1, 4, 0, 0, 0, 1];
        read.extend(block);
        read.extend([0, 0, 120, 0, 1, 0, 0, 0, 1]);
        read.extend([0; 120]);
        reads.push(read);
    }
    reads
}
