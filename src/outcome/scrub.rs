//! Takes mailboxes and phone numbers out of a vendor's words.
//!
//! Why: vendors quote the recipient in their errors (`'To' number +1415… is not valid`), and what they say stands
//! in logs, outcomes and dead letters. Rather a word too many is hidden than an address too few.

/// What stands in a recipient's place.
const HIDDEN: char = '…';

/// The first `most` characters of `text`, without control characters; each thing that looks like a mailbox or a
/// phone number is one `…`. Hidden first and cut second: half an address is still somebody's.
#[must_use]
pub fn scrub(text: &str, most: usize) -> String {
    let text: Vec<char> = text.chars().filter(|c| !c.is_control()).collect();
    let (mut out, mut at) = (String::new(), 0);
    for _ in 0..most {
        let Some(&c) = text.get(at) else { break };
        let hidden = mailbox(&text, at).or_else(|| international(&text, at)).or_else(|| bare(&text, at));
        out.push(if hidden.is_some() { HIDDEN } else { c });
        at = hidden.unwrap_or(at + 1);
    }
    out
}

/// Ends a word. All of these may stand around an address; none of them within one that the contract lets pass.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || "\"<>()[]{},;:`|\\".contains(c)
}

/// The end of the word that begins here, if an `@` (or `%40`) stands between two parts of it.
fn mailbox(text: &[char], at: usize) -> Option<usize> {
    if at > 0 && !ends_word(text[at - 1]) {
        return None;
    }
    let end = text[at..].iter().position(|c| ends_word(*c)).map_or(text.len(), |n| at + n);
    let word = &text[at..end];
    let named = |part: &[char]| part.iter().any(|c| c.is_alphanumeric());
    let divides = |i: usize| {
        let sign = if matches!(word[i], '@' | '＠') { 1 } else { 3 };
        (sign == 1 || word[i..].starts_with(&['%', '4', '0'])) && named(&word[..i]) && named(&word[i + sign..])
    };
    (0..word.len()).any(divides).then_some(end)
}

/// The end of a number that begins here with `+` (or `%2B`): 7 to 15 digits, in groups or not.
fn international(text: &[char], at: usize) -> Option<usize> {
    let sign = match &text[at..] {
        ['+', ..] => 1,
        ['%', '2', 'B' | 'b', ..] => 3,
        _ => return None,
    };
    let (mut digits, mut gap, mut end) = (0, 0, at + sign);
    for (i, c) in text.iter().enumerate().skip(at + sign) {
        if c.is_ascii_digit() && digits < 15 {
            (digits, gap, end) = (digits + 1, 0, i + 1);
        } else if gap < 2 && matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}') {
            gap += 1;
        } else {
            break;
        }
    }
    (digits >= 7).then_some(end)
}

/// The end of a number that begins here without a sign: 10 to 15 digits that are no part of an id.
fn bare(text: &[char], at: usize) -> Option<usize> {
    let of_id = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if at > 0 && (of_id(&text[at - 1]) || text[at - 1] == '.') {
        return None;
    }
    let digits = text[at..].iter().take_while(|c| c.is_ascii_digit()).count();
    let end = at + digits;
    ((10..=15).contains(&digits) && !text.get(end).is_some_and(of_id)).then_some(end)
}
