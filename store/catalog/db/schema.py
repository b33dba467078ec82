"""The tables. Times are seconds since the epoch; digests are text; JSON is text.

State predicates of partial indexes must reach the database as literals, or the planner does not
use the index: write them with the constants below, never as bound values.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    text,
)

# SQLite makes a row id only of INTEGER; PostgreSQL needs the wide type.
_Id = BigInteger().with_variant(Integer, "sqlite")
_Bytes = BigInteger()
_Json = JSON(none_as_null=True)

metadata = MetaData()

JOB_ACTIVE: Final = "state IN ('queued', 'running')"
JOB_DUE: Final = f"{JOB_ACTIVE} AND due AND owner IS NULL"
# The same for statements that find jobs by something better: SQLite, which has no statistics, would
# rather read every active one.
JOB_IS_ACTIVE: Final = "coalesce(state, '') IN ('queued', 'running')"
JOB_IS_DUE: Final = f"{JOB_IS_ACTIVE} AND due AND owner IS NULL"
# What a job waits for makes it due, unless it was let go for a time: then that has to pass first.
JOB_WAITING: Final = f"{JOB_IS_ACTIVE} AND not_before = 0"
JOB_BATCHED: Final = f"{JOB_DUE} AND batch_key <> '' AND NOT alone"
JOB_STOPPING: Final = f"{JOB_DUE} AND stop_requested IS NOT NULL"
JOB_OUT: Final = f"{JOB_ACTIVE} AND (owner IS NOT NULL OR dispatched_until > 0)"  # sent, or held
JOB_DELAYED: Final = "not_before > 0 AND NOT due"
JOB_WITH_DEADLINE: Final = f"{JOB_IS_ACTIVE} AND deadline IS NOT NULL AND stop_requested IS NULL"
JOB_TOP: Final = "parent IS NULL"  # nobody's child
# In words of its own: SQLite would take the index of all that have ended, children too.
JOB_TOP_ENDED: Final = "coalesce(parent, '') = ''"
LONG_SPEC_BYTES: Final = 4096
JOB_LONG_SPEC: Final = f"{JOB_TOP} AND spec_bytes > {LONG_SPEC_BYTES}"
JOB_TOP_ACTIVE: Final = f"{JOB_TOP} AND {JOB_ACTIVE}"
JOB_ENDED_AT: Final = "coalesce(finished_at, 0)"
LEASE_OF_EXPORT: Final = "substr(holder, 1, 7) = 'export:'"
TRANSFER_ACTIVE: Final = "state IN ('blocked', 'pending', 'delayed', 'admitted', 'running')"
TRANSFER_BUSY: Final = "state IN ('admitted', 'running')"
TRANSFER_BLOCKED: Final = "state = 'blocked'"
TRANSFER_PENDING: Final = "state = 'pending'"
TRANSFER_DELAYED: Final = "state = 'delayed'"
TRANSFER_ADMITTED: Final = f"{TRANSFER_BUSY} AND state = 'admitted'"
TRANSFER_RUNNING: Final = f"{TRANSFER_BUSY} AND state = 'running'"
TRANSFER_DOWNLOAD: Final = "direction = 'download'"
TRANSFER_ENDED: Final = "finished_at IS NOT NULL"
SMALL_BLOB_BYTES: Final = 4 * 1024 * 1024  # what may share a slot
TRANSFER_SMALL: Final = f"{TRANSFER_PENDING} AND size <= {SMALL_BLOB_BYTES} AND NOT alone"
# Downloads that queue and that somebody may have from another registry too.
TRANSFER_ELSEWHERE: Final = "elsewhere AND state IN ('pending', 'delayed')"


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    predicate = text(where)
    expressions = [text(c) if " " in c else c for c in columns]
    return Index(
        name,
        *expressions,
        unique=unique,
        sqlite_where=predicate,
        postgresql_where=predicate,
    )


# What other processes must agree on, one row.
cluster = Table(
    "cluster",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("lease_seconds", Float, nullable=False),
    Column("collection", _Id, nullable=False),  # the number of the newest collection
    Column("short_of_space", Boolean, nullable=False),  # the store is below its floor of free space
    # What a process must have in common with the others; NULL before the first one has come.
    Column("home", String),  # the id of the data directory
    Column("key_fingerprint", String),  # of the secret key
)

# --- what is held ------------------------------------------------------------------------------

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("size", _Bytes, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("used_at", Float, nullable=False),
    Column("collection", _Id, nullable=False),  # the one under way when it was last leased
    Index("blobs_used", "used_at"),
)

# A layer's blob and the stream that it holds, compressed or not: Docker's metadata of a
# distribution. A config only claims its diffIDs; *verified* ones were computed from the bytes.
layers = Table(
    "layers",
    metadata,
    Column("digest", String, nullable=False),  # of the blob
    Column("diff_id", String, nullable=False),
    Column("diff_size", _Bytes),  # of the uncompressed stream, where that has been read
    Column("verified", Boolean, nullable=False),
    PrimaryKeyConstraint("digest", "diff_id"),
    Index("layers_diff_id", "diff_id"),
)

# From which repositories the bytes of a held blob have come: only bytes prove who may use it. Rows
# that are not *proven* are from before this was recorded; they say where it may be fetched again.
blob_origins = Table(
    "blob_origins",
    metadata,
    Column("digest", String, nullable=False),
    Column("registry", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("proven", Boolean, nullable=False),
    PrimaryKeyConstraint("digest", "registry", "repository"),
)

# Where a registry has said, to which credential, that it holds a digest: by HEAD, a mount, an
# upload or a download. A word proves nothing about bytes that are held.
blob_sources = Table(
    "blob_sources",
    metadata,
    Column("digest", String, nullable=False),
    Column("registry", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("confirmed_at", Float, nullable=False),
    PrimaryKeyConstraint("digest", "registry", "repository", "fingerprint"),
    Index("blob_sources_confirmed", "confirmed_at"),
)

# Which children a held manifest or index holds on to. An index pulled for one platform lacks the
# edges of the others on purpose.
edges = Table(
    "edges",
    metadata,
    Column("parent", String, nullable=False),
    Column("child", String, nullable=False),
    PrimaryKeyConstraint("parent", "child"),
    Index("edges_child", "child"),
)

images = Table(
    "images",
    metadata,
    Column("digest", String, primary_key=True),  # of the manifest
    Column("image_id", String, nullable=False),  # digest of the config
    Column("media_type", String, nullable=False),
    Column("os", String, nullable=False),
    Column("architecture", String, nullable=False),
    Column("variant", String, nullable=False),
    Column("created", String, nullable=False),  # as the config has it
    Column("size", _Bytes, nullable=False),  # config and layers as held
    Column("layers", Integer, nullable=False),
    Column("labels", _Json, nullable=False),  # of the config
    Index("images_image_id", "image_id"),
)

# What is known of an image by its ID, apart from its bytes.
lineage = Table(
    "lineage",
    metadata,
    Column("tenant", String, nullable=False),
    Column("image_id", String, nullable=False),
    Column("parent", String),  # the image it was made from here; pulled ones have none
    Column("tagged_at", Float),
    PrimaryKeyConstraint("tenant", "image_id"),
    Index("lineage_image", "image_id"),
    Index("lineage_parent", "parent"),
)

# Of each tenant (see `tenants`) the names, and the manifests and indexes that it has, named or not.
references = Table(
    "image_references",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("media_type", String, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("written_seq", _Id, nullable=False),  # of the job that wrote it
    PrimaryKeyConstraint("tenant", "name"),
    Index("references_name", "name"),
    Index("references_digest", "digest"),
)
holdings = Table(
    "holdings",
    metadata,
    Column("tenant", String, nullable=False),
    Column("digest", String, nullable=False),
    PrimaryKeyConstraint("tenant", "digest"),
    Index("holdings_digest", "digest"),
)

leases = Table(
    "leases",
    metadata,
    Column("holder", String, nullable=False),
    Column("digest", String, nullable=False),
    PrimaryKeyConstraint("holder", "digest"),
    Index("leases_digest", "digest"),
    _partial("leases_exports", "holder", where=LEASE_OF_EXPORT),
)

# A named writable layer over an image: what was put into it, each as a layer of its own, in order.
workspaces = Table(
    "workspaces",
    metadata,
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("base", String),  # digest of the image's manifest; none: it began empty
    Column("reference", String),  # as it was asked for
    Column("busy", Boolean, nullable=False),  # Docker's running container
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    PrimaryKeyConstraint("tenant", "name"),
    Index("workspaces_name", "name"),
    Index("workspaces_base", "base"),
)
workspace_layers = Table(
    "workspace_layers",
    metadata,
    Column("tenant", String, nullable=False),
    Column("workspace", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("digest", String, nullable=False),
    PrimaryKeyConstraint("tenant", "workspace", "position"),
)

# What became of a source when it was changed on the way: a subset of an index, say.
derivations = Table(
    "derivations",
    metadata,
    Column("source_digest", String, nullable=False),
    Column("transform", String, nullable=False),
    Column("target_digest", String, nullable=False),
    Column("used_at", Float, nullable=False, server_default="0"),
    PrimaryKeyConstraint("source_digest", "transform"),
    Index("derivations_used", "used_at"),
)

# --- what is to be done ------------------------------------------------------------------------

jobs = Table(
    "jobs",
    metadata,
    Column("seq", _Id, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("queue", String, nullable=False),  # 'control' or 'local': whose threads advance it
    # Whether it puts something into the store: none starts while that is short of space.
    Column("writes_store", Boolean, nullable=False, server_default=text("false")),
    Column("priority", Integer, nullable=False),
    Column("parent", String),
    Column("child_key", String),  # unique within the parent
    Column("root", String, nullable=False),
    Column("retry_of", String),
    Column("registry", String, nullable=False),  # the first that it asks
    # The registries that it asks, at most two, with a space between: it runs while both are open.
    Column("lane", String, nullable=False, server_default=""),
    # Fingerprints of what it signs in with at the first and at the second of them.
    Column("credential", String, nullable=False, server_default=""),
    Column("other_credential", String, nullable=False, server_default=""),
    Column("requester", String, nullable=False, server_default=""),  # who asked for its root
    Column("tenant", String, nullable=False, server_default=""),  # whose images it works on
    Column("turn", _Id, nullable=False),
    Column("label", String, nullable=False),  # how it reads in Flower and on a terminal
    Column("spec", _Json, nullable=False),
    # How long it is, of jobs that are nobody's child.
    Column("spec_bytes", Integer, nullable=False, server_default=text("0")),
    Column("requested_by", String, nullable=False),
    Column("idempotency_key", String),
    Column("fingerprint", String, nullable=False),  # of the request body
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    Column("deadline", Float),
    Column("checkpoint", _Json),  # what the first advance fixed
    Column("result", _Json),
    Column("error", _Json),
    Column("superseded_by", String),
    Column("stop_requested", String),  # 'cancelled' or 'deadline-exceeded'
    # when it runs
    Column("due", Boolean, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("not_before_delay", Float, nullable=False),
    Column("dispatched_until", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    # With what it may be advanced together: jobs of one lane that have the same; empty: with none.
    Column("batch_key", String, nullable=False, server_default=""),
    # Those that were dispatched together: a name that no other dispatch has.
    Column("batch", String, nullable=False, server_default=""),
    Column("shared", Boolean, nullable=False, server_default=text("false")),  # others were in it
    # Its batch died: until it has got further, it is advanced by itself.
    Column("alone", Boolean, nullable=False, server_default=text("false")),
    # who runs it
    Column("owner", String),
    Column("fence", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    # How far it is: what it found, and what waits of it that have ended came to.
    Column("bytes_total", _Bytes, nullable=False),
    Column("bytes_skipped", _Bytes, nullable=False),
    Column("bytes_moved", _Bytes, nullable=False),
    Column("blobs_total", Integer, nullable=False),
    Column("blobs_skipped", Integer, nullable=False),
    Column("blobs_moved", Integer, nullable=False),
    UniqueConstraint("requested_by", "idempotency_key"),
    UniqueConstraint("parent", "child_key"),
    Index("jobs_state", "state", "seq"),
    Index("jobs_kind", "kind", "state"),  # counts are made from it alone
    _partial("jobs_parent", "parent", "state", "seq", where="parent IS NOT NULL"),
    _partial("jobs_finished", "finished_at", where="finished_at IS NOT NULL"),
    Index("jobs_children", "parent", "seq"),
    _partial("jobs_top", "seq", where=JOB_TOP),
    _partial("jobs_tenant_active", "tenant", where=JOB_TOP_ACTIVE),
    _partial("jobs_tenant_specs", "tenant", "spec_bytes", where=JOB_LONG_SPEC),
    _partial("jobs_top_state", "state", "seq", where=JOB_TOP),
    _partial("jobs_top_requester", "requester", "seq", where=JOB_TOP),
    _partial("jobs_top_finished", JOB_ENDED_AT, where=JOB_TOP_ENDED),
    _partial("jobs_children_active", "parent", where=JOB_ACTIVE),
    _partial(
        "jobs_due",
        "queue",
        "lane",
        "priority DESC",
        "requester",
        "turn",
        "seq",
        where=JOB_DUE,
    ),
    _partial(
        "jobs_batch_key",
        "queue",
        "lane",
        "priority",
        "batch_key",
        "turn",
        "seq",
        where=JOB_BATCHED,
    ),
    _partial("jobs_stopping", "queue", "seq", where=JOB_STOPPING),
    _partial("jobs_delayed", "not_before", where=JOB_DELAYED),
    _partial("jobs_lane", "registry", "priority", "requester", "turn", where=JOB_ACTIVE),
    _partial("jobs_root", "root", "registry", "priority", "turn", where=JOB_ACTIVE),
    _partial("jobs_out", "queue", "batch", where=JOB_OUT),
    _partial("jobs_owned", "owner", where="owner IS NOT NULL"),
    _partial("jobs_deadline", "deadline", where=JOB_WITH_DEADLINE),
    _partial("jobs_retry_of", "retry_of", where="retry_of IS NOT NULL"),
)

# What the children of a job come to: how many are in which state, and the sums of their figures.
# Not in the job's own row: that may be megabytes long, and SQLite reads and writes a row whole.
# Without an index beyond the key, so that PostgreSQL updates it in place.
job_children = Table(
    "job_children",
    metadata,
    Column("job", String, primary_key=True),
    Column("queued", Integer, nullable=False),
    Column("running", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("bytes_total", _Bytes, nullable=False),
    Column("bytes_skipped", _Bytes, nullable=False),
    Column("bytes_moved", _Bytes, nullable=False),
    Column("blobs_total", _Bytes, nullable=False),
    Column("blobs_skipped", _Bytes, nullable=False),
    Column("blobs_moved", _Bytes, nullable=False),
    # How many there will be, as far as the job has said so.
    Column("expected", Integer, nullable=False, server_default=text("0")),
)

# Policies of what is to be mirrored, which the server keeps and starts on their interval.
mirrors = Table(
    "mirrors",
    metadata,
    Column("name", String, primary_key=True),
    Column("spec", _Json, nullable=False),  # of the job that a run is
    Column("enabled", Boolean, nullable=False),
    Column("interval", Float),  # seconds; NULL: it runs when it is asked for
    Column("next_run", Float, nullable=False),
    Column("next_run_delay", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

# The jobs that were runs of a stored policy; they go with their job.
mirror_runs = Table(
    "mirror_runs",
    metadata,
    Column("job", String, primary_key=True),
    Column("mirror", String, nullable=False),
    Column("policy", String, nullable=False, server_default=""),  # a hash of what it said then
    Column("started_at", Float, nullable=False),
    Index("mirror_runs_mirror", "mirror", "started_at"),
)

# The credentials that came with a job, sealed; its children use them too.
credentials = Table(
    "credentials",
    metadata,
    Column("root", String, nullable=False),
    Column("registry", String, nullable=False),
    Column("sealed", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    PrimaryKeyConstraint("root", "registry"),
)

# Who may write a tag in a registry now, and how new the newest writer was.
targets = Table(
    "targets",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String),
    Column("written_seq", _Id, nullable=False),
    Column("written_by", String),
    _partial("targets_holder", "holder", where="holder IS NOT NULL"),
    _partial("targets_written", "written_seq", where="holder IS NULL"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("key", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("size", _Bytes, nullable=False),
    Column("media_type", String, nullable=False),
    Column("registry", String, nullable=False),  # the lane
    Column("repository", String, nullable=False),
    Column("credential", String, nullable=False, server_default=""),  # its fingerprint
    # Of a download: somebody who waits has brought another registry, or another credential.
    Column("elsewhere", Boolean, nullable=False, server_default=text("false")),
    Column("root", String, nullable=False),
    Column("requester", String, nullable=False, server_default=""),  # who asked for the root
    # Its bytes are the progress of the job that wanted it first, and of that job's root.
    Column("counted", Boolean, nullable=False, server_default=text("false")),
    Column("priority", Integer, nullable=False),
    Column("turn", _Id, nullable=False),
    Column("state", String, nullable=False),
    # Who has the slot in which it was admitted last: those with the same number share it. No number
    # is given twice in a direction.
    Column("bundle", _Id, nullable=False, server_default=text("0")),
    Column("shared", Boolean, nullable=False, server_default=text("false")),  # others were in it
    # Its bundle died: until it has got further, it has a slot of its own.
    Column("alone", Boolean, nullable=False, server_default=text("false")),
    Column("error", _Json),
    Column("stop_requested", Boolean, nullable=False),
    # It has ended, and not all who wait have been told yet.
    Column("telling", Boolean, nullable=False, server_default=text("false")),
    Column("not_before", Float, nullable=False),
    Column("not_before_delay", Float, nullable=False),
    Column("dispatched_until", Float, nullable=False),
    Column("attempts", Integer, nullable=False),  # tries that used up the budget
    Column("tries", Integer, nullable=False),  # all of them
    Column("furthest", _Bytes, nullable=False),  # the highest offset any try reached
    Column("owner", String),
    Column("served_by", String),  # the last owner
    # Where an upload goes on: its session's address, sealed, for that may be a key to it; and how
    # much the registry has acknowledged.
    Column("upload_session", String),
    Column("upload_offset", _Bytes, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("furthest_at_death", _Bytes, nullable=False),
    Column("bytes_done", _Bytes, nullable=False),  # of the blob, by the current try
    Column("bytes_moved", _Bytes, nullable=False),  # over the wire, by all tries
    Column("created_at", Float, nullable=False),
    Column("started_at", Float),
    Column("finished_at", Float),
    _partial("transfers_digest", "digest", where=TRANSFER_ACTIVE),
    _partial("transfers_blocked", "digest", where=TRANSFER_BLOCKED),
    _partial("transfers_fence", "digest", "fence", where=TRANSFER_DOWNLOAD),
    _partial("transfers_key", "key", where=TRANSFER_ACTIVE, unique=True),
    _partial(
        "transfers_queue",
        "direction",
        "registry",
        "priority DESC",
        "requester",
        "turn",
        "id",
        where=TRANSFER_PENDING,
    ),
    _partial(
        "transfers_root",
        "direction",
        "registry",
        "root",
        "priority",
        "turn",
        where=TRANSFER_PENDING,
    ),
    _partial(
        "transfers_small",
        "direction",
        "registry",
        "root",
        "priority",
        "turn",
        "id",
        where=TRANSFER_SMALL,
    ),
    _partial("transfers_busy", "direction", "registry", "bundle", where=TRANSFER_BUSY),
    _partial("transfers_delayed", "not_before", where=TRANSFER_DELAYED),
    _partial("transfers_telling", "id", where="telling"),
    _partial("transfers_finished", "finished_at", where=TRANSFER_ENDED),
    _partial("transfers_elsewhere", "registry", where=TRANSFER_ELSEWHERE),
)

# A job waits for a transfer, and brings the source or the destination it may use.
waits = Table(
    "waits",
    metadata,
    Column("job", String, ForeignKey("jobs.id"), nullable=False),
    Column("transfer", _Id, ForeignKey("transfers.id"), nullable=False),
    Column("registry", String, nullable=False),
    Column("repository", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("seq", _Id, nullable=False, server_default="0"),  # of the job
    Column("joined", Boolean, nullable=False),  # someone else's transfer already
    Column("counted", Boolean, nullable=False),  # its bytes are the job's progress
    Column("ended", Boolean, nullable=False),
    Column("error", _Json),
    PrimaryKeyConstraint("job", "transfer"),
    Index("waits_transfer", "transfer", "job"),
    _partial("waits_open", "job", where="NOT ended"),
    _partial(
        "waits_sources",
        "transfer",
        "registry",
        "repository",
        "fingerprint",
        "priority",
        "seq",
        "job",
        where="NOT ended",
    ),
)

lanes = Table(
    "lanes",
    metadata,
    Column("direction", String, nullable=False),
    Column("registry", String, nullable=False),
    Column("parked_until", Float, nullable=False),
    Column("parked_delay", Float, nullable=False),
    # Its transfers heard nothing while others waited for their slots: see `silence`.
    Column("silent_until", Float, nullable=False, server_default="0"),
    Column("silent_delay", Float, nullable=False, server_default="0"),
    Column("served", _Id, nullable=False),
    PrimaryKeyConstraint("direction", "registry"),
)

# What a credential may ask of a registry is used up for a while.
budgets = Table(
    "budgets",
    metadata,
    Column("registry", String, nullable=False),
    Column("credential", String, nullable=False),  # its fingerprint; empty: without one
    Column("parked_until", Float, nullable=False),
    Column("parked_delay", Float, nullable=False),
    PrimaryKeyConstraint("registry", "credential"),
)

# When each requester was served last, in a lane of transfers or in a queue of jobs.
rounds = Table(
    "rounds",
    metadata,
    Column("queue", String, nullable=False),  # 'download', 'upload', 'control' or 'local'
    Column("registry", String, nullable=False),  # empty for a queue of jobs
    Column("requester", String, nullable=False),
    Column("served", _Id, nullable=False),
    PrimaryKeyConstraint("queue", "registry", "requester"),
)

# What is set for single registries, in both directions together; null leaves it open.
registries = Table(
    "registries",
    metadata,
    Column("registry", String, primary_key=True),
    Column("concurrency", Integer),
    Column("requests_per_second", Float),
    Column("bytes_per_second", _Bytes),
    Column("paused", Boolean, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("name", String, primary_key=True),
    Column("default_value", Integer, nullable=False),
    Column("default_source", String, nullable=False),
    Column("override", Integer),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String, primary_key=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("control", Integer, nullable=False),  # threads for each queue it serves
    Column("downloads", Integer, nullable=False),
    Column("uploads", Integer, nullable=False),
    Column("local", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("version", String, nullable=False, server_default=""),  # of Transship
)

# Which worker does the maintenance, one row.
maintenance = Table(
    "maintenance",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("owner", String),
    Column("fence", Integer, nullable=False),
    Column("beat", Integer, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job", String, nullable=False),
    Column("parent", String),  # of the job: who follows a mirror is told of its images
    Column("time", Float, nullable=False),
    Column("type", String, nullable=False),
    Column("data", _Json, nullable=False),
    Index("events_job", "job", "id"),
    _partial("events_parent", "parent", "id", where="parent IS NOT NULL"),
    sqlite_autoincrement=True,  # an id that a client has seen is never given again
)

# What happened to images, with Docker's names and attributes.
image_events = Table(
    "image_events",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", Float, nullable=False),
    Column("action", String, nullable=False),
    Column("tenant", String, nullable=False, server_default=""),
    Column("actor", String, nullable=False),  # an image ID, a reference, or empty
    Column("attributes", _Json, nullable=False),
    Index("image_events_time", "time"),
    sqlite_autoincrement=True,
)

# Messages of the broker that could not become jobs; the newest ones only.
rejected_messages = Table(
    "rejected_messages",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", Float, nullable=False),
    Column("reason", String, nullable=False),
    Column("excerpt", String, nullable=False),
    sqlite_autoincrement=True,  # the newest id is the number of all that were ever rejected
)

# --- who may do what -----------------------------------------------------------------------------

audit = Table(
    "audit",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("time", Float, nullable=False),
    Column("caller", String, nullable=False),
    Column("peer", String, nullable=False),
    Column("operation", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),  # jobs are requested by it
    Column("hashed", String, nullable=False, unique=True),  # SHA-256 of the token
    Column("scopes", _Json, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
)

# Credentials that the server keeps for registries; a token uses those that its scopes name.
named_credentials = Table(
    "named_credentials",
    metadata,
    Column("name", String, primary_key=True),
    Column("registry", String, nullable=False),
    Column("sealed", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("id", String, nullable=False, server_default=""),
    Index("named_credentials_registry", "registry"),
)
