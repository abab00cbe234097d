//! What readers made of the values they read, so that a value is decoded once.
//!
//! One operation reads the same values several times: to decide, to see what changes, to write. After a lost race it
//! reads them again in another version, where most of them still are what they were.
//!
//! Guarantees: what is given was made of exactly these bytes, at this place, as this type. Holds one value a place and
//! type, the last one. Must not know what is made of them.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Fault;

/// What was made of values.
#[derive(Default)]
pub struct Remembered(RefCell<BTreeMap<(TypeId, String), Made>>);

/// Bytes, and what was made of them.
type Made = (Vec<u8>, Rc<dyn Any>);

impl Remembered {
    /// What `make` makes of `value`, which depends on nothing but that and `place`.
    pub fn made<T: 'static>(
        &self,
        place: String,
        value: Vec<u8>,
        make: impl FnOnce(&[u8]) -> Result<T, Fault>,
    ) -> Result<Rc<T>, Fault> {
        let at = (TypeId::of::<T>(), place);
        let known = self.0.borrow().get(&at).filter(|(bytes, _)| *bytes == value).map(|(_, made)| Rc::clone(made));
        if let Some(made) = known.and_then(|made| made.downcast().ok()) {
            return Ok(made);
        }
        let made = Rc::new(make(&value)?);
        self.0.borrow_mut().insert(at, (value, Rc::clone(&made) as Rc<dyn Any>));
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once_and_never_taken_for_another() {
        let remembered = Remembered::default();
        let length = |place: &str, value: &str| {
            let mut made = false;
            let make = |bytes: &[u8]| {
                made = true;
                Ok(bytes.len())
            };
            let length = remembered.made(place.to_owned(), value.into(), make).expect("it can be made");
            (*length, made)
        };
        assert_eq!(length("a", "one"), (3, true));
        assert_eq!(length("a", "one"), (3, false));
        assert_eq!(length("b", "one"), (3, true), "another place");
        assert_eq!(length("a", "three"), (5, true), "another value");
        assert_eq!(length("a", "one"), (3, true), "the last one only");
        let text = remembered.made("a".to_owned(), "one".into(), |_| Ok("another type".to_owned()));
        assert_eq!(*text.expect("it can be made"), "another type");
        let fault = remembered.made::<u8>("a".to_owned(), "one".into(), |_| Err(Fault::integrity("torn")));
        assert!(fault.is_err(), "what cannot be made is not remembered");
    }
}
