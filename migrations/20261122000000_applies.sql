-- What registrar remembers. The rules are in src/domain; the checks here refuse rows that no state
-- allows. Written for PostgreSQL 15 and newer.
--
-- Locks are taken in one order everywhere: the apply, then its rounds by number, then blocks and
-- lanes. A claim locks a round and the blocks that it probes.

-- One row per submission: its status and its devices by outcome.
CREATE TABLE applies (
    apply_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant          text        NOT NULL,  -- whose it is; for others it does not exist
    account         text        NOT NULL,  -- the upstream account whose quotas it uses
    product_key     text        NOT NULL,
    iot_instance_id text        NOT NULL,  -- empty: the public instance
    after_check     text        NOT NULL,
    status          text        NOT NULL,
    sealed          boolean     NOT NULL,  -- its last device is stored
    uploads         integer     NOT NULL DEFAULT 0,  -- streams that uploaded it; the latest may go on
    stored_at       timestamptz NOT NULL DEFAULT now(),  -- its latest devices
    cancelling      boolean     NOT NULL DEFAULT false,  -- nothing unsent is sent any more
    labels          jsonb       NOT NULL DEFAULT '{}',
    import          boolean     NOT NULL DEFAULT false,  -- its devices bring their own secrets
    data_key        bytea,                 -- what their secrets are sealed with, itself sealed; null
                                           -- once none of them can be needed any more
    revision        bigint      NOT NULL,  -- of its latest event
    total           integer     NOT NULL,
    valid           integer     NOT NULL DEFAULT 0,
    invalid         integer     NOT NULL DEFAULT 0,
    created         integer     NOT NULL DEFAULT 0,
    failed          integer     NOT NULL DEFAULT 0,
    unknown         integer     NOT NULL DEFAULT 0,
    cancelled       integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    traceparent     text,                  -- of the call that submitted it, for steps to link to
    restored        boolean     NOT NULL DEFAULT false,  -- the database may have forgotten what was
                                           -- sent for it
    CONSTRAINT known_status CHECK (status IN ('CHECK', 'CHECK_SUCCESS', 'CHECK_FAILED', 'CREATE',
                                              'CREATE_SUCCESS', 'CREATE_FAILED', 'CANCELLED')),
    CONSTRAINT known_after_check CHECK (after_check IN ('STOP', 'REGISTER_IF_ALL_VALID',
                                                        'REGISTER_VALID')),
    CONSTRAINT counted_once CHECK (
        least(valid, invalid, created, failed, unknown, cancelled) >= 0
        AND valid + invalid + created + failed + unknown + cancelled <= total),
    CONSTRAINT counted_out_when_created CHECK (
        status NOT IN ('CREATE_SUCCESS', 'CREATE_FAILED')
        OR invalid + created + failed + unknown + cancelled = total),
    CONSTRAINT all_created_on_success CHECK (
        status <> 'CREATE_SUCCESS' OR failed + unknown + cancelled = 0),
    CONSTRAINT cancelled_on_request CHECK (status <> 'CANCELLED' OR cancelling),
    CONSTRAINT sealed_before_registered CHECK (
        sealed OR status IN ('CHECK', 'CANCELLED') AND failed + unknown = 0
                  AND (created = 0 OR restored)),
    CONSTRAINT uploaded_until_sealed CHECK (sealed OR uploads > 0),
    CONSTRAINT key_of_an_import CHECK (data_key IS NULL OR import)
) WITH (fillfactor = 50);

-- Whoever lists applies is of one tenant.
CREATE INDEX applies_by_tenant ON applies (tenant, apply_id);
CREATE INDEX applies_by_product ON applies (tenant, product_key, apply_id);
-- Who is on the way. Its predicate costs an apply a heap-only update four times, when the status
-- changes; counts and times are in no index, or every update would pay.
CREATE INDEX applies_unsettled ON applies (account) WHERE status IN ('CHECK', 'CREATE');

-- Who waits for a caller, and since when: such an apply changes only by ceasing to.
CREATE INDEX applies_unregistered ON applies (account, updated_at)
    WHERE status IN ('CHECK_SUCCESS', 'CHECK_FAILED');

-- Whose data keys are to be sealed anew after a rotation of the master keys.
CREATE INDEX applies_by_data_key ON applies (apply_id) WHERE data_key IS NOT NULL;

-- Which uploads were given up.
CREATE INDEX applies_unsealed ON applies (account, stored_at) WHERE NOT sealed;

-- Found by what their submitters call them. Labels never change, so updates stay heap-only.
CREATE INDEX applies_by_label ON applies USING gin (labels jsonb_path_ops);

-- What each tenant's request ids stand for: an answer that can be given again.
CREATE TABLE requests (
    tenant      text        NOT NULL,
    request_id  text        NOT NULL,
    fingerprint bytea       NOT NULL,  -- of the request's content
    apply_id    bigint      NOT NULL REFERENCES applies ON DELETE CASCADE,
    revision    bigint      NOT NULL,  -- of the event that was the answer
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id)
);
CREATE INDEX requests_by_apply ON requests (apply_id);

-- 10,000 devices a row, as columns, in the order they came: chunk_no * 10000 is the first ordinal.
-- Names and nicknames are written once. Outcomes hold a letter a device: P(ending) V(alid)
-- I(nvalid) C(reated) F(ailed) U(nknown) X (cancelled). Reasons are kept of those that have one.
CREATE TABLE chunks (
    apply_id           bigint  NOT NULL REFERENCES applies ON DELETE CASCADE,
    chunk_no           integer NOT NULL,
    names              text[]  NOT NULL,
    nicknames          text[],            -- null: no device of the apply has one
    sns                text[],            -- of an import: serial numbers, empty for none
    secrets            bytea,             -- of an import: sealed with the data key of the apply;
                                          -- null once none of them can be needed any more
    outcomes           text    NOT NULL,
    reason_ordinals    integer[] NOT NULL DEFAULT '{}',
    reason_codes       text[]  NOT NULL DEFAULT '{}',
    reason_texts       text[]  NOT NULL DEFAULT '{}',
    reason_request_ids text[]  NOT NULL DEFAULT '{}',  -- null element: a local rule
    reason_firsts      integer[] NOT NULL DEFAULT '{}',  -- null element: no duplicate
    PRIMARY KEY (apply_id, chunk_no),
    -- A letter is P, V, F or U while its device may yet be sent, or compared with.
    CONSTRAINT secrets_only_while_needed CHECK (
        secrets IS NULL OR outcomes ~ '[PVFU]'),
    CONSTRAINT reasons_are_whole CHECK (
        cardinality(reason_ordinals) = cardinality(reason_codes)
        AND cardinality(reason_ordinals) = cardinality(reason_texts)
        AND cardinality(reason_ordinals) = cardinality(reason_request_ids)
        AND cardinality(reason_ordinals) = cardinality(reason_firsts))
) WITH (fillfactor = 50);

-- Columns of a chunk are as long as each other. Constraints would unpack the names at every change of
-- outcomes, which is four fifths of the price of one; triggers look when the columns themselves change.
CREATE FUNCTION refuse_columns_of_different_length() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING MESSAGE = 'columns of a chunk have as many elements as devices',
        TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
END
$$;

CREATE TRIGGER one_element_a_device BEFORE INSERT OR UPDATE OF names, nicknames, sns ON chunks
FOR EACH ROW WHEN (
    cardinality(NEW.names) NOT BETWEEN 1 AND 10000
    OR cardinality(NEW.names) <> octet_length(NEW.outcomes)
    OR cardinality(NEW.names) <> cardinality(NEW.nicknames)
    OR cardinality(NEW.names) <> cardinality(NEW.sns))
EXECUTE FUNCTION refuse_columns_of_different_length();

CREATE TRIGGER one_outcome_a_device BEFORE UPDATE OF outcomes ON chunks
FOR EACH ROW WHEN (octet_length(NEW.outcomes) <> octet_length(OLD.outcomes))
EXECUTE FUNCTION refuse_columns_of_different_length();

-- lz4 costs a third of the time of the default, where the server was built with it.
DO $$
BEGIN
    ALTER TABLE chunks
        ALTER names SET COMPRESSION lz4,
        ALTER nicknames SET COMPRESSION lz4,
        ALTER sns SET COMPRESSION lz4,
        ALTER outcomes SET COMPRESSION lz4,
        ALTER reason_ordinals SET COMPRESSION lz4,
        ALTER reason_codes SET COMPRESSION lz4,
        ALTER reason_texts SET COMPRESSION lz4,
        ALTER reason_request_ids SET COMPRESSION lz4,
        ALTER reason_firsts SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    NULL;
END
$$;

-- Sealed bytes do not become shorter.
ALTER TABLE chunks ALTER secrets SET STORAGE EXTERNAL;

-- A row per device, for people and for reports. The service reads chunks.
CREATE VIEW devices AS
SELECT c.apply_id, d.*
FROM chunks c
CROSS JOIN LATERAL (
    SELECT c.chunk_no * 10000 + d.place::integer - 1 AS ordinal,
           d.device_name,
           coalesce(d.nickname, '') AS nickname,
           coalesce(d.sn, '') AS sn,
           CASE d.outcome WHEN 'P' THEN 'PENDING' WHEN 'V' THEN 'VALID' WHEN 'I' THEN 'INVALID'
                          WHEN 'C' THEN 'CREATED' WHEN 'F' THEN 'FAILED' WHEN 'U' THEN 'UNKNOWN'
                          WHEN 'X' THEN 'CANCELLED' END AS outcome,
           r.code AS reason_code,
           r.text AS reason_text,
           r.request_id AS reason_request_id,
           r.first AS first_ordinal
    FROM unnest(c.names, c.nicknames, c.sns, string_to_array(c.outcomes, NULL))
         WITH ORDINALITY AS d (device_name, nickname, sn, outcome, place)
    LEFT JOIN unnest(c.reason_ordinals, c.reason_codes, c.reason_texts, c.reason_request_ids,
                     c.reason_firsts) AS r (ordinal, code, text, request_id, first)
           ON r.ordinal = c.chunk_no * 10000 + d.place::integer - 1
) d;

-- A set of devices on its way through one upstream apply: the unit of work and of the lease.
CREATE TABLE rounds (
    apply_id          bigint      NOT NULL REFERENCES applies ON DELETE CASCADE,
    round_no          integer     NOT NULL,
    account           text        NOT NULL,
    product           text        NOT NULL,  -- its apply's: PRODUCT_KEY/INSTANCE
    phase             text        NOT NULL,
    lane              text        GENERATED ALWAYS AS (
        CASE phase
            WHEN 'CHECK'       THEN 'BatchCheckDeviceNames'
            WHEN 'CHECKING'    THEN 'QueryBatchRegisterDeviceStatus'
            WHEN 'REGISTER'    THEN 'BatchRegisterDeviceWithApplyId'
            WHEN 'REGISTERING' THEN 'QueryBatchRegisterDeviceStatus'
            WHEN 'CREATING'    THEN 'QueryBatchRegisterDeviceStatus'
            WHEN 'UNKNOWN'     THEN 'QueryBatchRegisterDeviceStatus'
            WHEN 'COUNTING'    THEN 'QueryPageByApplyId'
            WHEN 'LISTING'     THEN 'QueryPageByApplyId'
            WHEN 'CHECK_IMPORT'  THEN 'BatchCheckImportDevice'
            WHEN 'IMPORT'        THEN 'BatchImportDevice'
            WHEN 'IMPORTING'     THEN 'BatchImportDevice'
            WHEN 'IMPORTED'      THEN 'QueryImportedDeviceByApplyId'
            WHEN 'LIST_IMPORTED' THEN 'QueryImportedDeviceByApplyId'
            WHEN 'LOOKUP'        THEN 'BatchQueryDeviceDetail'
        END) STORED,
    accepted          boolean     NOT NULL,  -- for registration
    chunk_no          integer,               -- its devices: all of this chunk, or
    ordinals          integer[],             -- these
    devices           integer     NOT NULL,  -- how many it began with
    upstream_apply_id bigint,
    nameless          smallint    NOT NULL DEFAULT 0,  -- failures in a row that named no device
    fruitless         smallint    NOT NULL DEFAULT 0,  -- upstream applies taken that created nobody since a device was last settled
    attempts          integer     NOT NULL DEFAULT 0,  -- claims in a row that came to nothing
    failing_since     timestamptz,           -- when the first of those was recorded
    setbacks          smallint    NOT NULL DEFAULT 0,  -- answers in a row that took it no further
    page              integer     NOT NULL DEFAULT 0,  -- result pages read, or passed by; hundreds looked up
    asked_at          timestamptz,           -- since when the result is awaited
    checked_at        timestamptz,           -- when the upstream apply passed its check
    created_first     integer,               -- what was created lies between these places, under
    created_last      integer,               -- upstream_apply_id if its number was ever told
    intent_at         timestamptz,           -- the signed date of a request to register or import that may be under way
    intent_nonce      uuid,                  -- of a request to import: what it is signed with besides
    resent            boolean     NOT NULL DEFAULT false,  -- it may have been sent more than once
    turn_at           timestamptz NOT NULL,  -- orders what is due; never delays
    expected_at       timestamptz,           -- when the awaited result was first expected
    due_at            timestamptz,           -- when a step may take it; while leased, when the lease ends
    lease             uuid,                  -- the step in flight
    PRIMARY KEY (apply_id, round_no),
    CONSTRAINT known_phase CHECK (phase IN ('CHECK', 'CHECKING', 'HELD', 'REGISTER', 'REGISTERING',
                                            'CREATING', 'COUNTING', 'LISTING', 'UNKNOWN',
                                            'UNRESOLVED', 'CHECK_IMPORT', 'IMPORT', 'IMPORTING',
                                            'IMPORTED', 'LIST_IMPORTED', 'LOOKUP', 'ENDED')),
    CONSTRAINT one_set_of_devices CHECK ((chunk_no IS NULL) <> (ordinals IS NULL)),
    CONSTRAINT due_unless_it_rests CHECK ((due_at IS NULL) = (phase IN ('HELD', 'UNRESOLVED', 'ENDED'))),
    CONSTRAINT leased_when_due CHECK (lease IS NULL OR due_at IS NOT NULL),
    CONSTRAINT asked_about_by_its_number CHECK (
        upstream_apply_id IS NOT NULL
        OR phase IN ('CHECK', 'HELD', 'UNRESOLVED', 'CHECK_IMPORT', 'IMPORT', 'IMPORTING', 'LOOKUP',
                     'ENDED')),
    -- What a restored database has forgotten is looked up whether it is accepted or not.
    CONSTRAINT registered_when_accepted CHECK (
        accepted OR phase IN ('CHECK', 'CHECKING', 'CHECK_IMPORT', 'HELD', 'LOOKUP', 'ENDED')),
    CONSTRAINT created_between CHECK ((created_first IS NULL) = (created_last IS NULL)),
    CONSTRAINT held_until_accepted CHECK (phase <> 'HELD' OR NOT accepted),
    CONSTRAINT intent_before_call CHECK (
        phase NOT IN ('REGISTERING', 'IMPORTING') OR intent_at IS NOT NULL),
    CONSTRAINT nonce_before_import CHECK (phase <> 'IMPORTING' OR intent_nonce IS NOT NULL),
    CONSTRAINT nonce_of_an_intent CHECK (intent_nonce IS NULL OR intent_at IS NOT NULL),
    CONSTRAINT intent_while_registering CHECK (
        intent_at IS NULL OR phase IN ('REGISTER', 'REGISTERING', 'UNKNOWN', 'UNRESOLVED')
        OR intent_nonce IS NOT NULL
           AND phase IN ('IMPORTING', 'CREATING', 'IMPORTED', 'LIST_IMPORTED', 'LOOKUP'))
);

-- Whose turn it is in each lane, and when the next one is due.
CREATE INDEX rounds_by_turn ON rounds (account, lane, turn_at, apply_id, round_no)
    WHERE due_at IS NOT NULL;
CREATE INDEX rounds_by_time ON rounds (account, lane, due_at) WHERE due_at IS NOT NULL;

-- The backlog that waits for a caller. Rounds are updated in their other indexes anyway.
CREATE INDEX rounds_unresolved ON rounds (account) WHERE phase = 'UNRESOLVED';

-- Result pages read so far by a round that lists what was created; folded into its chunks once.
CREATE TABLE listed (
    apply_id bigint  NOT NULL,
    round_no integer NOT NULL,
    page     integer NOT NULL,
    names    text[]  NOT NULL,
    PRIMARY KEY (apply_id, round_no, page),
    FOREIGN KEY (apply_id, round_no) REFERENCES rounds ON DELETE CASCADE
);

-- What looking devices up found so far, a hundred at a time; folded into their chunks once. Letters:
-- O(urs), with the secret that we sent, or made since their apply came; T(heirs), neither; A(bsent);
-- N(ot there, while an import may be under way); S(ecretive), there and its secret not told.
CREATE TABLE looked_up (
    apply_id bigint  NOT NULL,
    round_no integer NOT NULL,
    page     integer NOT NULL,
    ordinals integer[] NOT NULL,
    found    "char"[] NOT NULL,
    PRIMARY KEY (apply_id, round_no, page),
    FOREIGN KEY (apply_id, round_no) REFERENCES rounds ON DELETE CASCADE,
    CONSTRAINT one_finding_a_device CHECK (cardinality(ordinals) = cardinality(found))
);

-- Every visible change of an apply, as the whole of what is visible.
CREATE TABLE events (
    apply_id  bigint      NOT NULL REFERENCES applies ON DELETE CASCADE,
    revision  bigint      NOT NULL,
    status    text        NOT NULL,
    total     integer     NOT NULL,
    valid     integer     NOT NULL,
    invalid   integer     NOT NULL,
    created   integer     NOT NULL,
    failed    integer     NOT NULL,
    unknown   integer     NOT NULL,
    cancelled integer     NOT NULL,
    cancelling boolean    NOT NULL,
    sealed    boolean     NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (apply_id, revision)
);

-- Every upstream call, for whoever asks why.
CREATE TABLE calls (
    apply_id          bigint      NOT NULL REFERENCES applies ON DELETE CASCADE,
    call_no           bigint      GENERATED ALWAYS AS IDENTITY,
    round_no          integer     NOT NULL,
    action            text        NOT NULL,
    upstream_apply_id bigint,
    called_at         timestamptz NOT NULL,
    took_ms           integer     NOT NULL,
    result            text        NOT NULL,  -- a status, OK, or the code or kind of the failure
    message           text,                  -- of a failure, scrubbed and at most 256 bytes
    scope             text,                  -- of a failure: how far its cause reaches
    judged            boolean     NOT NULL,  -- the upstream looked into the call and answered it
    request_id        text,
    PRIMARY KEY (apply_id, call_no)
);

-- Who counts the calls of the last minute. Not BRIN: rows that are removed make room for new ones
-- everywhere in the table, and then every range of it holds some of the last minute.
CREATE INDEX calls_by_time ON calls (called_at);

-- Which server keeps these rows, and on which timeline. Another one may be older than what was sent.
CREATE TABLE keeper (
    one               boolean     PRIMARY KEY DEFAULT true,
    system_identifier bigint      NOT NULL,
    timeline          text        NOT NULL,  -- 8 hexadecimal digits, as names of WAL files begin
    since             timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_keeper CHECK (one)
);

-- The quota of each action: when its next call may arrive. Shared by all replicas.
CREATE TABLE lanes (
    account      text             NOT NULL,
    action       text             NOT NULL,
    next_slot    timestamptz      NOT NULL,
    slowed       double precision NOT NULL DEFAULT 1,  -- times the usual spacing, as of throttled_at
    throttled_at timestamptz,
    PRIMARY KEY (account, action),
    CONSTRAINT never_faster CHECK (slowed >= 1)
);

-- What the upstream says of products.
CREATE TABLE products (
    account         text        NOT NULL,
    product_key     text        NOT NULL,
    iot_instance_id text        NOT NULL,  -- empty: the public instance
    auth_type       text        NOT NULL,  -- how its devices authenticate; empty: it does not say
    learned_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, product_key, iot_instance_id)
);

-- What the upstream refuses for a reason that reaches further than one call. While a block stands,
-- one of its rounds is let through now and then, and the first that passes lifts it; so does the end
-- of the last apply that waits for the product. Those lifted are kept for a while: the time that a
-- round was blocked does not count against it.
CREATE TABLE blocks (
    block_no   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account    text        NOT NULL,
    scope      text        NOT NULL,  -- ACCOUNT, LANE or PRODUCT
    lane       text,                  -- of LANE: the action
    product    text,                  -- of PRODUCT: as rounds have it
    since      timestamptz NOT NULL DEFAULT now(),
    probe_at   timestamptz NOT NULL,  -- when the next round is let through
    lifted_at  timestamptz,
    action     text        NOT NULL,  -- the call that was refused, and what it was told
    code       text        NOT NULL,
    message    text        NOT NULL,
    CONSTRAINT blocks_what_it_says CHECK (
        scope = 'ACCOUNT' AND lane IS NULL AND product IS NULL
        OR scope = 'LANE' AND lane IS NOT NULL AND product IS NULL
        OR scope = 'PRODUCT' AND lane IS NULL AND product IS NOT NULL)
);

CREATE UNIQUE INDEX blocks_standing ON blocks (account, coalesce(lane, ''), coalesce(product, ''))
    WHERE lifted_at IS NULL;

-- For how many seconds since `start` a round was blocked. The block of a product counts for
-- `block_for` at most, then its rounds are let through.
CREATE FUNCTION blocked_for(of_account text, of_lane text, of_product text, start timestamptz,
                            block_for double precision)
RETURNS double precision
LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce((
    SELECT sum(extract(epoch FROM upper(blocked) - lower(blocked)))
    FROM (
        SELECT unnest(range_agg(tstzrange(since, greatest(since, until)))) AS blocked
        FROM (
            SELECT greatest(b.since, start) AS since,
                   least(coalesce(b.lifted_at, now()),
                         CASE b.scope WHEN 'PRODUCT' THEN greatest(b.since, start)
                                                          + make_interval(secs => block_for)
                                      ELSE 'infinity' END) AS until
            FROM blocks AS b
            WHERE b.account = of_account
              AND (b.scope = 'ACCOUNT' OR b.lane = of_lane OR b.product = of_product)
              AND coalesce(b.lifted_at, 'infinity') > start
        ) AS spans
    ) AS together), 0)::double precision;

-- Blocks that hold rounds back: no probe is due. A view and no function, since it is looked at with
-- every claim and the plan of a function is made anew each time.
CREATE VIEW holding AS
SELECT account, scope, lane, product, since
FROM blocks
WHERE lifted_at IS NULL AND probe_at > now();

-- How much of a slowdown is left: half of it after every 30 s. The power is bounded, since one too
-- small for a double is an error.
CREATE FUNCTION slowdown(slowed double precision, throttled_at timestamptz)
RETURNS double precision
LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN greatest(1, slowed * power(0.5, least(100, coalesce(
    extract(epoch FROM clock_timestamp() - throttled_at)::double precision / 30, 0))));

-- Who changed what, and who saw whose secrets. For good: an entry outlives its apply, and only
-- retention removes any. Holds neither secrets nor names of devices.
CREATE TABLE audit (
    entry_no bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant   text        NOT NULL,
    caller   text        NOT NULL,  -- empty: anyone, of an open server
    proof    text        NOT NULL,  -- what proved who it was
    peer     text,                  -- address and port that the call came from
    what     text        NOT NULL,
    apply_id bigint,
    detail   text        NOT NULL,
    CONSTRAINT known_proof CHECK (proof IN ('OPEN', 'TOKEN', 'CERTIFICATE')),
    CONSTRAINT known_act CHECK (what IN ('SUBMIT', 'REGISTER', 'CANCEL', 'RECONCILE', 'CREDENTIALS',
                                        'REFUSED')),
    CONSTRAINT about_an_apply CHECK (apply_id IS NOT NULL OR what = 'REFUSED')
);

CREATE INDEX audit_by_apply ON audit (apply_id);

-- Retention says so in its transaction; nobody else removes anything by accident.
CREATE FUNCTION audit_is_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('registrar.audit_retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit takes no %', TG_OP;
END
$$;

CREATE TRIGGER audit_is_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
