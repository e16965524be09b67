//! How a letter is written and read: msgpack with named fields, the same at the door and in every test.

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};

/// So many levels a letter may have; ours have less than ten.
const DEPTH_MAX: usize = 32;

/// Reads one letter; an error is anything that is not exactly one.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    // Addresses travel as text, which is what an operator writes.
    let mut reader = rmp_serde::Deserializer::new(bytes).with_human_readable();
    reader.set_max_depth(DEPTH_MAX);
    let letter = T::deserialize(&mut reader)?;
    match reader.get_ref().len() {
        0 => Ok(letter),
        left => Err(rmp_serde::decode::Error::custom(format!(
            "{left} bytes are left behind its end"
        ))),
    }
}

/// Writes a letter, or several as a list.
pub fn write<T: Serialize + ?Sized>(letter: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::new();
    letter.serialize(
        &mut rmp_serde::Serializer::new(&mut bytes)
            .with_struct_map()
            .with_human_readable(),
    )?;
    Ok(bytes)
}
