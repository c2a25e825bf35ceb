//! A lane that was full is read again in one go.

use peakpost::intake::rest::{REST, Rest};

use super::{ms, start};

#[test]
fn who_was_full_rests_until_there_is_much_room_and_never_for_long() {
    let rows = [
        ("nothing is gained by reading what little room there is", false, ms(1), true),
        ("with much room there is", true, ms(1), false),
        ("jobs that wait for long may hold most of the room: the rest is read with what is left", false, REST, false),
    ];
    for (why, has_room, after, lasts) in rows {
        let (full, mut rest) = (start(), Rest::default());
        assert!(!rest.lasts(|| false, full), "{why}: it was not full yet");
        rest.begin(full);
        assert_eq!(rest.lasts(|| has_room, full + after), lasts, "{why}");
        assert_eq!(rest.lasts(|| false, full + after), lasts, "{why}: a rest that has ended does not come back");
        rest.begin(full + REST);
        assert!(rest.lasts(|| false, full + REST), "{why}: full again, it rests anew");
    }
}
