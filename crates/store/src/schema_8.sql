-- The schema of Frontdesk's database, from version 7 to version 8: Lambda functions, their versions and aliases.

-- A function (`Function`, JSON): its name, tags, resource policies and reserved concurrency.
CREATE TABLE lambda_function (
    name       TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    definition TEXT NOT NULL
) STRICT;

-- What a function runs (`FunctionVersion`, JSON). `$LATEST` changes, numbered versions never do. Environment variables often hold keys, so they are sealed (JSON, bound
-- to the row). The code itself is a file, named by its hash.
CREATE TABLE lambda_function_version (
    function_name      TEXT NOT NULL REFERENCES lambda_function (name) ON DELETE CASCADE,
    version            TEXT NOT NULL,
    definition         TEXT NOT NULL,
    sealed_environment BLOB NOT NULL,
    PRIMARY KEY (function_name, version)
) STRICT, WITHOUT ROWID;

-- A name that callers reach, and which version it leads to (`FunctionAlias`, JSON).
CREATE TABLE lambda_function_alias (
    function_name TEXT NOT NULL REFERENCES lambda_function (name) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    definition    TEXT NOT NULL,
    PRIMARY KEY (function_name, name)
) STRICT, WITHOUT ROWID;
