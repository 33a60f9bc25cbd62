/* Every statement nestor runs on its database. X(name, what it is for: "cannot <...>", SQL).
 *
 * All are prepared when the database is opened, so that a slip in the SQL fails there and not in the middle of a
 * run. Columns are read by position: a SELECT and its row function stand next to each other in review. */
#ifndef NESTOR_STATE_STATEMENTS_H
#define NESTOR_STATE_STATEMENTS_H

/* How many rows of history stay when it is trimmed (docs/state.md). Text, because it becomes part of the SQL. */
#define JOURNAL_KEPT "10000"
#define EVIDENCE_KEPT "10"
/* A run that was killed stays open until the lab's next run. One that never gets a next is history after this. */
#define ABANDONED_MS "2592000000" /* 30 days */

#define STATEMENTS(X)                                                                                                  \
    X(SQL_BEGIN, "begin a transaction", "BEGIN IMMEDIATE")                                                             \
    X(SQL_BEGIN_READ, "begin reading", "BEGIN DEFERRED")                                                               \
    X(SQL_COMMIT, "commit a transaction", "COMMIT")                                                                    \
    X(SQL_ROLLBACK, "roll a transaction back", "ROLLBACK")                                                             \
    X(SQL_SAVEPOINT, "begin a part of a transaction", "SAVEPOINT part")                                                \
    X(SQL_RELEASE, "end a part of a transaction", "RELEASE part")                                                      \
    X(SQL_ROLLBACK_PART, "roll a part of a transaction back", "ROLLBACK TO part")                                      \
                                                                                                                       \
    X(SQL_LAB_FIND, "find the lab",                                                                                    \
      "SELECT id, name, file, spec, created_at, updated_at, removing FROM labs WHERE name = ?1")                       \
    X(SQL_LAB_EACH, "list the labs",                                                                                   \
      "SELECT id, name, file, spec, created_at, updated_at, removing FROM labs ORDER BY name")                         \
    X(SQL_LAB_WAS_KNOWN, "look whether a lab was ever known",                                                          \
      "SELECT 1 FROM labs WHERE id = ?1 UNION ALL SELECT 1 FROM runs WHERE lab_id = ?1 LIMIT 1")                       \
    X(SQL_LAB_NAMES, "list the labs", "SELECT name FROM labs ORDER BY name")                                           \
    X(SQL_LAB_PUT, "record the lab",                                                                                   \
      "INSERT INTO labs (id, name, file, spec, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)"                \
      " ON CONFLICT (name) DO UPDATE SET file = excluded.file, spec = excluded.spec,"                                  \
      " updated_at = excluded.updated_at, removing = 0 RETURNING id")                                                  \
    X(SQL_LAB_SET_REMOVING, "mark the lab as being removed", "UPDATE labs SET removing = 1 WHERE id = ?1")             \
    X(SQL_LAB_DELETE, "forget the lab", "DELETE FROM labs WHERE id = ?1")                                              \
                                                                                                                       \
    X(SQL_HOSTS, "read the lab's hosts",                                                                               \
      "SELECT name, driver, params, parallel FROM hosts WHERE lab_id = ?1 ORDER BY rowid")                             \
    X(SQL_HOST_PUT, "record a host",                                                                                   \
      "INSERT INTO hosts (lab_id, name, driver, params, parallel) VALUES (?1, ?2, ?3, ?4, ?5)"                         \
      " ON CONFLICT (lab_id, name) DO UPDATE SET driver = excluded.driver, params = excluded.params,"                  \
      " parallel = excluded.parallel")                                                                                 \
    X(SQL_HOST_FORGET, "forget a host",                                                                                \
      "DELETE FROM hosts WHERE lab_id = ?1 AND name = ?2"                                                              \
      " AND NOT EXISTS (SELECT 1 FROM machines WHERE lab_id = ?1 AND host = ?2)")                                      \
                                                                                                                       \
    X(SQL_MACHINES, "read the lab's machines",                                                                         \
      "SELECT path, name, parent, host, level, hypervisor, template, native_name, uuid, mac, digest, ssh_user,"        \
      " ssh_port, nesting, ready, status, address, is_ready, failure, ordinal FROM machines WHERE lab_id = ?1"         \
      " ORDER BY ordinal, path")                                                                                       \
    X(SQL_MACHINE_PUT, "record a machine",                                                                             \
      "INSERT INTO machines (lab_id, path, name, parent, host, level, hypervisor, template, native_name, uuid, mac,"   \
      " digest, ssh_user, ssh_port, nesting, ready, status, address, is_ready, failure, ordinal)"                      \
      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"       \
      " ON CONFLICT (lab_id, path) DO UPDATE SET name = excluded.name, parent = excluded.parent,"                      \
      " host = excluded.host, level = excluded.level, hypervisor = excluded.hypervisor,"                               \
      " template = excluded.template, native_name = excluded.native_name, uuid = excluded.uuid,"                       \
      " mac = excluded.mac, digest = excluded.digest, ssh_user = excluded.ssh_user, ssh_port = excluded.ssh_port,"     \
      " nesting = excluded.nesting, ready = excluded.ready, status = excluded.status, address = excluded.address,"     \
      " is_ready = excluded.is_ready, failure = excluded.failure, ordinal = excluded.ordinal")                         \
    X(SQL_MACHINE_SEEN, "record what was seen of a machine",                                                           \
      "UPDATE machines SET status = coalesce(?3, status), address = coalesce(?4, address),"                            \
      " is_ready = coalesce(?5, is_ready), failure = coalesce(?6, failure) WHERE lab_id = ?1 AND path = ?2")           \
    X(SQL_MACHINE_DELETE, "forget a machine", "DELETE FROM machines WHERE lab_id = ?1 AND path = ?2")                  \
                                                                                                                       \
    X(SQL_EVIDENCE_PUT, "record evidence",                                                                             \
      "INSERT INTO evidence (lab_id, path, checked_at, verified, flag, reason, probes)"                                \
      " SELECT lab_id, path, ?3, ?4, ?5, ?6, ?7 FROM machines WHERE lab_id = ?1 AND path = ?2")                        \
    X(SQL_EVIDENCE_TRIM, "trim old evidence",                                                                          \
      "DELETE FROM evidence WHERE lab_id = ?1 AND path = ?2 AND id NOT IN (SELECT id FROM evidence"                    \
      " WHERE lab_id = ?1 AND path = ?2 ORDER BY id DESC LIMIT " EVIDENCE_KEPT ")")                                    \
    X(SQL_EVIDENCE_EACH, "read the evidence",                                                                          \
      "SELECT path, flag, reason, probes, verified, checked_at FROM evidence WHERE id IN"                              \
      " (SELECT max(id) FROM evidence WHERE lab_id = ?1 GROUP BY path) ORDER BY path")                                 \
                                                                                                                       \
    X(SQL_RUN_CLOSE_OLD, "close the lab's interrupted runs",                                                           \
      "UPDATE runs SET ended_at = ?2, outcome = 'interrupted' WHERE lab_id = ?1 AND ended_at = 0")                     \
    X(SQL_RUN_START, "record the start of a run",                                                                      \
      "INSERT INTO runs (lab_id, lab, verb, started_at) SELECT id, name, ?2, ?3 FROM labs WHERE id = ?1 RETURNING id") \
    X(SQL_RUN_END, "record the end of a run", "UPDATE runs SET ended_at = ?2, outcome = ?3 WHERE id = ?1")             \
    X(SQL_JOURNAL_INTENT, "journal an intent",                                                                         \
      "INSERT INTO journal (run, path, step, reason, started_at)"                                                      \
      " VALUES ((SELECT id FROM runs WHERE id = ?1 AND lab_id = ?2), ?3, ?4, ?5, ?6)")                                 \
    X(SQL_JOURNAL_OUTCOME, "journal an outcome",                                                                       \
      "UPDATE journal SET ended_at = ?2, outcome = ?3, error = ?4 WHERE id = ?1 AND ended_at = 0")                     \
    X(SQL_JOURNAL_EACH, "read the journal",                                                                            \
      "SELECT j.id, j.run, j.started_at, j.ended_at, r.lab, r.verb, j.path, j.step, j.reason, j.outcome, j.error"      \
      " FROM journal j JOIN runs r ON r.id = j.run WHERE j.id > ?2 AND (?1 IS NULL OR r.lab_id = ?1)"                  \
      " ORDER BY j.id LIMIT ?3")                                                                                       \
    X(SQL_JOURNAL_TRIM, "trim the journal",                                                                            \
      "DELETE FROM journal WHERE id <= (SELECT max(id) FROM journal) - " JOURNAL_KEPT                                  \
      " AND run IN (SELECT id FROM runs WHERE ended_at > 0 OR started_at < ?1 - " ABANDONED_MS ")")                    \
    X(SQL_RUNS_TRIM, "trim the runs",                                                                                  \
      "DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - " JOURNAL_KEPT                                        \
      " AND (ended_at > 0 OR started_at < ?1 - " ABANDONED_MS ") AND id NOT IN (SELECT run FROM journal)")

#endif
