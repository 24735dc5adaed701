-- The schema of Frontdesk's database, from version 2 to version 3: REST APIs, their deployments and stages.

-- An API as it is being edited: resources, methods, integrations, gateway responses, as one JSON document (`RestApi`), read and written as a whole.
CREATE TABLE rest_api (
    id         TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    definition TEXT NOT NULL
) STRICT;

-- What a deployment froze of its API (`Deployment`, JSON). Never changed.
CREATE TABLE deployment (
    api_id     TEXT NOT NULL REFERENCES rest_api (id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    snapshot   TEXT NOT NULL,
    PRIMARY KEY (api_id, id)
) STRICT, WITHOUT ROWID;

-- A name that callers reach, which deployment it serves, and its settings (`Stage`, JSON).
CREATE TABLE stage (
    api_id        TEXT NOT NULL REFERENCES rest_api (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    deployment_id TEXT NOT NULL,
    definition    TEXT NOT NULL,
    PRIMARY KEY (api_id, name),
    FOREIGN KEY (api_id, deployment_id) REFERENCES deployment (api_id, id)
) STRICT, WITHOUT ROWID;
