//! Which migrations there are and which are due. Files are only ever added: a test holds their digests.

use super::StoreError;

/// One step of the schema.
#[derive(Debug)]
pub(super) struct Migration {
    /// The same in both engines, counted from 1.
    pub(super) version: i64,
    /// The file's name.
    pub(super) name: &'static str,
    /// The oldest program, by the greatest version that it knows, that may run beside the schema from here on. Only a
    /// migration that takes something away raises it.
    pub(super) oldest_compatible: i64,
    /// What is run.
    pub(super) sql: &'static str,
}

/// A step that a database says it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applied {
    pub(super) version: i64,
    pub(super) oldest_compatible: i64,
}

pub(super) const POSTGRES: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_foundation",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0001_foundation.sql"),
    },
    Migration {
        version: 2,
        name: "0002_sweeps",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0002_sweeps.sql"),
    },
    Migration {
        version: 3,
        name: "0003_throttling",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0003_throttling.sql"),
    },
    Migration {
        version: 4,
        name: "0004_admin",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0004_admin.sql"),
    },
    Migration {
        version: 5,
        name: "0005_feed",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0005_feed.sql"),
    },
    Migration {
        version: 6,
        name: "0006_instances",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0006_instances.sql"),
    },
    Migration {
        version: 7,
        name: "0007_legacy_ended",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0007_legacy_ended.sql"),
    },
    Migration {
        version: 8,
        name: "0008_app_users",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0008_app_users.sql"),
    },
    Migration {
        version: 9,
        name: "0009_imports",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0009_imports.sql"),
    },
    Migration {
        version: 10,
        name: "0010_ends_of_copies",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/postgres/0010_ends_of_copies.sql"),
    },
];

pub(super) const SQLITE: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_foundation",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0001_foundation.sql"),
    },
    Migration {
        version: 2,
        name: "0002_sweeps",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0002_sweeps.sql"),
    },
    Migration {
        version: 3,
        name: "0003_throttling",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0003_throttling.sql"),
    },
    Migration {
        version: 4,
        name: "0004_admin",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0004_admin.sql"),
    },
    Migration {
        version: 5,
        name: "0005_feed",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0005_feed.sql"),
    },
    Migration {
        version: 6,
        name: "0006_instances",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0006_instances.sql"),
    },
    Migration {
        version: 7,
        name: "0007_legacy_ended",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0007_legacy_ended.sql"),
    },
    Migration {
        version: 8,
        name: "0008_app_users",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0008_app_users.sql"),
    },
    Migration {
        version: 9,
        name: "0009_imports",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0009_imports.sql"),
    },
    Migration {
        version: 10,
        name: "0010_ends_of_copies",
        oldest_compatible: 1,
        sql: include_str!("../../migrations/sqlite/0010_ends_of_copies.sql"),
    },
];

/// What of `all` is due, in order. Steps that only a newer program knows are left alone unless they exclude this one:
/// two versions run side by side while instances are replaced.
pub(super) fn due(all: &'static [Migration], applied: &[Applied]) -> Result<Vec<&'static Migration>, StoreError> {
    let known = all.last().map_or(0, |migration| migration.version);
    let needed = applied.iter().map(|step| step.oldest_compatible).max().unwrap_or(0);
    if needed > known {
        let found = applied.iter().map(|step| step.version).max().unwrap_or(0);
        return Err(StoreError::TooNew { found, known });
    }
    let is_due = |migration: &&Migration| !applied.iter().any(|step| step.version == migration.version);
    Ok(all.iter().filter(is_due).collect())
}

/// The names that people are shown.
pub(super) fn names(migrations: &[&Migration]) -> Vec<String> {
    migrations.iter().map(|migration| migration.name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Applied, Migration, POSTGRES, SQLITE, due};
    use crate::store::StoreError;
    use aws_lc_rs::digest;

    const DIGESTS: &[(&str, &str, &str)] = &[
        (
            "0001_foundation",
            "452bcef022ebf3fc892ae31471098b37c6384077cb1ec31d6a50725ce44bbe6f",
            "a887257f537d46443e4d7c13ca98414261b41b000e688738cda25a08dc36dca1",
        ),
        (
            "0002_sweeps",
            "b40dbc002de7130f305219da3213ff7c28f94851efebd69ba4d212fa8e2027fe",
            "01a6e37eac4de7ca2d8c8c20c9a49d7361f3847a8949f5e903db5714505097f9",
        ),
        (
            "0003_throttling",
            "585999e617b6201705f7e6acbbd7881a3f5f1dd536631b64d25e7a670013dc0c",
            "280be82feb1101021427a287bbaf1b781ec62821061c78fb466d25cff24a93db",
        ),
        (
            "0004_admin",
            "56ae8e8bcb4edbe21f02a556be1c44b6e79d674dd9e010fc332b460533b6b77e",
            "349b94bc8e04fcc55511884d21afb1e3ca4b35c848d759d969a809ed379a6269",
        ),
        (
            "0005_feed",
            "b4527fd7fdb5520c0d036df351400a359e572b2bd8191b540bb54e617ef7471b",
            "eae6e86c1e15d3a188be35856fe2255a94910319aa8d226b889326943d77a739",
        ),
        (
            "0006_instances",
            "45f0bd0edb0a998b8f1a6039431399c4bd1c0a273daf99684cbb457ca7e30757",
            "aa1e880a2de9f1f26d3e3c63c757d6b4badf0febb80b89d442614d0d6ef53678",
        ),
        (
            "0007_legacy_ended",
            "136bcc1a6ee61b33ddecff38f661275873f06a91979f0e0f65f68683d2966a44",
            "96bfeb1a20bdbbb8bcbb1a2f1d5ece7712e3a01e6daf0ff3294261afe471c63e",
        ),
        (
            "0008_app_users",
            "4d1e9f61b0a8d3d48b42bbae5184abc28044cf609cd6e880558911f83e0162f2",
            "a3fc08d729711061674f17d29ed170ef19861b9299aa2a41f98f8544fb45c896",
        ),
        (
            "0009_imports",
            "6dcb66ef5c877c20a46a3724c13a81e95d757852769831d85ef01e0388370cea",
            "e73c1ff3179b8f4788b1bda6590e630d3d1ce4b658feda352864395bf6d271ee",
        ),
        (
            "0010_ends_of_copies",
            "ba6a09dc8e5434fb2a070ef4bc4d3c17cffd4e5cfb5d9400266b144bc255b097",
            "bd02a2e93b54062bd21a4172c9e196a6fe79f414ee3828c29a962b06582161d4",
        ),
    ];

    fn applied(version: i64, oldest_compatible: i64) -> Applied {
        Applied {
            version,
            oldest_compatible,
        }
    }

    #[test]
    fn migrations_that_were_released_never_change() {
        let hash = |migration: &Migration| hex::encode(digest::digest(&digest::SHA256, migration.sql.as_bytes()));
        let found: Vec<_> = POSTGRES
            .iter()
            .zip(SQLITE)
            .map(|(a, b)| (a.name, hash(a), hash(b)))
            .collect();
        let held: Vec<_> = DIGESTS
            .iter()
            .map(|(name, a, b)| (*name, (*a).to_owned(), (*b).to_owned()))
            .collect();
        assert_eq!(found, held);
    }

    #[test]
    fn both_engines_have_the_same_steps_in_the_order_of_their_numbers() {
        assert_eq!(POSTGRES.len(), SQLITE.len());
        assert!(POSTGRES.is_sorted_by_key(|migration| migration.version));
        for (one, other) in POSTGRES.iter().zip(SQLITE) {
            assert_eq!(
                (one.version, one.name, one.oldest_compatible),
                (other.version, other.name, other.oldest_compatible)
            );
            assert!(one.oldest_compatible <= one.version);
        }
    }

    #[test]
    fn steps_of_a_newer_program_are_left_alone_unless_they_exclude_this_one() {
        let known = POSTGRES.len();
        let next = POSTGRES.last().unwrap().version + 1;
        assert_eq!(due(POSTGRES, &[]).unwrap().len(), known);
        assert_eq!(due(POSTGRES, &[applied(next, 1)]).unwrap().len(), known);
        let excluded = due(POSTGRES, &[applied(1, 1), applied(next, next)]);
        assert!(matches!(excluded, Err(StoreError::TooNew { found, .. }) if found == next));
    }
}
