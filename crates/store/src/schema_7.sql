-- The schema of Frontdesk's database, from version 6 to version 7: IAM's users, groups, roles, managed policies and access keys.

-- A user, group or role (`Identity`, JSON) with its inline policies and the ARNs of the attached ones. Names have no case.
-- kind: 'user' | 'group' | 'role'.
CREATE TABLE iam_identity (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    definition TEXT NOT NULL,
    UNIQUE (kind, name)
) STRICT;

-- A managed policy with its versions (`ManagedPolicy`, JSON).
CREATE TABLE iam_policy (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE COLLATE NOCASE,
    created_at INTEGER NOT NULL,
    definition TEXT NOT NULL
) STRICT;

-- A user's access key; the secret is sealed, bound to the key's id. `last_used` (JSON) is NULL until the first use.
CREATE TABLE iam_access_key (
    id            TEXT PRIMARY KEY,
    user_id       TEXT NOT NULL REFERENCES iam_identity (id) ON DELETE CASCADE,
    sealed_secret BLOB NOT NULL,
    is_active     INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used     TEXT
) STRICT;

CREATE INDEX iam_access_key_by_user ON iam_access_key (user_id);
