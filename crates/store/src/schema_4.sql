-- The schema of Frontdesk's database, version 4: a host in a fleet.

-- What this host is in its fleet; no row for a host that is alone. The tables of keys, plans, extensions and seeded ids are then a replica of the fleet's
-- database, complete up to `revision`; usage counts are this host's own.
CREATE TABLE fleet_member (
    fleet_id TEXT NOT NULL,
    host_id  TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
