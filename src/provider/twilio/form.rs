//! The form encoding of values: `application/x-www-form-urlencoded`, as the WHATWG's URL standard writes it.
//!
//! Why: of a message nearly every byte stands for itself; those are copied in runs, not asked for one by one.
//! Must not know: which parameter it is.

/// Bytes that stand for themselves.
const PLAIN: [bool; 256] = {
    let of = b"*-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (mut plain, mut at) = ([false; 256], 0);
    while at < of.len() {
        plain[of[at] as usize] = true;
        at += 1;
    }
    plain
};

/// Appends a value: a space as `+`, any other byte that does not stand for itself as `%` and two digits.
pub(super) fn encode(out: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    loop {
        let run = rest.iter().position(|&byte| !PLAIN[usize::from(byte)]).unwrap_or(rest.len());
        let (plain, odd) = rest.split_at(run);
        out.extend_from_slice(plain);
        match odd.split_first() {
            None => return,
            Some((b' ', after)) => {
                out.push(b'+');
                rest = after;
            }
            Some((&byte, after)) => {
                let hex = |digit: u8| b"0123456789ABCDEF"[usize::from(digit)];
                out.extend([b'%', hex(byte >> 4), hex(byte & 15)]);
                rest = after;
            }
        }
    }
}
