//! `ledger`: owed, judged, settled. In windows of 1,000, settled in reverse, so that the prefix moves in jumps.

use std::hint::black_box;

use peakpost::job::receipt::End;
use peakpost::job::source::Layout;
use peakpost::job::{JobKey, Lane, Source};
use peakpost::ledger::Ledger;
use peakpost::ledger::known::Judgement;

use crate::{Machine, N, Round};

pub const MACHINES: &[Machine] = &[Machine::new("ledger: deliver, judge, settle", settle)];

/// Jobs that are known when they are through.
const KNOWN: usize = 1000;

fn settle() -> Round {
    let source = Source::Jobs(Lane::Marketing);
    let mut ledger = Ledger::new(0, 1, Layout::default(), &[0; 2], 0, KNOWN);
    let mut out = Vec::with_capacity(1000);
    let mut offset = 0;
    let mut number = itoa::Buffer::new();
    Box::new(move || {
        for _ in 0..N {
            let Some(mut receipt) = ledger.deliver(source, offset, 500) else { continue };
            let job = JobKey::new("shop", number.format(offset), 0);
            if ledger.judge(job, 0, source, offset) == Judgement::Goes {
                receipt.name(job, 0);
            }
            out.push(receipt);
            offset += 1;
            if out.len() == 1000 {
                while let Some(receipt) = out.pop() {
                    let outcome = offset - out.len() as i64;
                    ledger.settle(&receipt.settle(outcome, End::Terminal));
                }
                black_box(ledger.commits());
            }
        }
    })
}
