//! Whole numbers that are checked where they are read.

/// A whole number between two bounds.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident($int:ty), $min:literal to $max:literal, default $default:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct $name($int);

        impl $name {
            /// What is expected where the number is read.
            pub const EXPECTED: &str =
                concat!("expected a whole number from ", $min, " to ", $max);

            /// The largest one.
            pub const MAX: $int = $max;

            /// The number of a document's key; `None` where the key is not set.
            pub(crate) fn read(
                section: &mut crate::document::Section<'_>,
                key: &'static str,
            ) -> Result<Option<Self>, Box<crate::document::Mistake>> {
                let number = section.number(key, &($min..=$max), Self::EXPECTED)?;
                Ok(number.and_then(Self::new))
            }

            /// The number, where it lies between its bounds.
            #[must_use]
            pub fn new(value: i64) -> Option<Self> {
                match <$int>::try_from(value) {
                    Ok(value @ $min..=$max) => Some(Self(value)),
                    _ => None,
                }
            }

            /// The number itself.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&self.0, f)
            }
        }
    };
}
pub(crate) use bounded;
