//! A connection in memory, driven through the repair; the fuzz target uses it too.

use super::Repair;

/// What goes on of `bytes` when they come in reads of these sizes, in turn.
pub(super) fn repaired(bytes: &[u8], reads: &[usize]) -> Vec<u8> {
    let mut repair = Repair::default();
    let mut rest = bytes;
    let mut reads = reads.iter().cycle();
    let mut on = Vec::new();
    while !rest.is_empty() {
        let size = (*reads.next().expect("it goes round")).min(rest.len());
        if repair.wanted() > 0 {
            let (read, later) = rest.split_at(size.min(repair.wanted()));
            repair.hold(read);
            rest = later;
            continue;
        }
        on.extend(repair.release(usize::MAX));
        let (read, later) = rest.split_at(size);
        let mut read = read.to_vec();
        let count = repair.rewrite(&mut read);
        on.extend_from_slice(&read[..count]);
        rest = later;
    }
    if repair.wanted() > 0 {
        repair.end();
    }
    on.extend(repair.release(usize::MAX));
    on
}
