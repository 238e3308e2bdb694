//! The operator's binary: reads the command line and runs the command.

#[cfg(not(feature = "jemalloc"))]
use std::alloc::System as Heap;
use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
use tikv_jemallocator::Jemalloc as Heap;
use vault_kms_plugin::kmsctl;
use zeroizing_alloc::ZeroAlloc;

/// Wipes freed memory: seeds and plaintexts pass through buffers of libraries too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Heap> = ZeroAlloc(Heap);

fn main() -> ExitCode {
    kmsctl::run()
}
