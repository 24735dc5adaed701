-- The schema of Frontdesk's database, from version 4 to version 5: agent runtimes, their versions and endpoints.

-- An agent runtime (`AgentRuntime`, JSON). Its name is the owner's, its id the name with ten made-up characters.
CREATE TABLE agent_runtime (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    definition TEXT NOT NULL
) STRICT;

-- What a runtime runs (`RuntimeVersion`, JSON); only its status changes. Environment variables often hold keys, so they are sealed (JSON, bound to the row).
CREATE TABLE agent_runtime_version (
    runtime_id         TEXT NOT NULL REFERENCES agent_runtime (id) ON DELETE CASCADE,
    version            INTEGER NOT NULL,
    definition         TEXT NOT NULL,
    sealed_environment BLOB NOT NULL,
    PRIMARY KEY (runtime_id, version)
) STRICT, WITHOUT ROWID;

-- A name that callers reach, and which version it leads to (`RuntimeEndpoint`, JSON).
CREATE TABLE agent_runtime_endpoint (
    runtime_id TEXT NOT NULL REFERENCES agent_runtime (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    definition TEXT NOT NULL,
    PRIMARY KEY (runtime_id, name)
) STRICT, WITHOUT ROWID;
