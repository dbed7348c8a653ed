//! What is read from what was written, and what is told when it cannot be.

use super::*;

#[test]
fn a_secret_is_not_shown_when_it_is_refused() {
    let texts = [Given::Text("hunter2".into()), Given::Raw("hunter2".into())];
    let refused = [
        Vec::<Secret>::read(&texts[0], Bounds::None).err(),
        TokenValue::read(&texts[0], Bounds::None).err(),
        TokenValue::read(&texts[1], Bounds::None).err(),
        Option::<Secret>::read(&Given::Whole(73_481), Bounds::None).err(),
        Vec::<Secret>::read(&Given::Whole(73_481), Bounds::None).err(),
        Vec::<Secret>::read(&Given::List(vec![Given::Whole(73_481)]), Bounds::None).err(),
    ];
    for what in refused {
        let what = what.unwrap();
        assert!(
            !what.contains("hunter2") && !what.contains("73481"),
            "{what}"
        );
    }
}
