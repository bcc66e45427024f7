use argon2::Argon2;
use argon2::Block;
use argon2::Error;

/// More than glibc ever takes from its heap (mallopt(3), `M_MMAP_THRESHOLD`): memory of this size is mapped for itself and
/// given back whole. In the heap, small allocations settle in what was freed, and each check takes fresh memory beside
/// it: 60 log-ins at once made the process larger by 400 MiB.
const MAPPED: usize = (32 + 1) * 1024 * 1024 / Block::SIZE;

/// As [`Argon2::hash_password_into`], in memory that does not stay.
pub(in crate::account) fn derive(
    argon2: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    output: &mut [u8],
) -> Result<(), Error> {
    let count = argon2.params().block_count();
    let mut blocks: Vec<Block> = Vec::new();
    let reserved = blocks.try_reserve_exact(count.max(MAPPED));
    reserved.map_err(|_| Error::OutOfMemory)?;
    // Only what is written to takes memory.
    blocks.resize(count, Block::new());
    argon2.hash_password_into_with_memory(password, salt, output, &mut blocks)
}

#[cfg(test)]
mod tests {
    use super::derive;
    use argon2::{Algorithm, Argon2, Params, Version};

    #[test]
    fn the_memory_changes_nothing_of_the_hash() {
        for (memory, lanes) in [(8, 1), (64, 1), (70, 2)] {
            let params = Params::new(memory, 2, lanes, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let (mut ours, mut theirs) = ([0; 32], [0; 32]);
            derive(&argon2, b"password", b"sixteen bytes ok", &mut ours).unwrap();
            argon2
                .hash_password_into(b"password", b"sixteen bytes ok", &mut theirs)
                .unwrap();
            assert_eq!(ours, theirs);
        }
    }
}
