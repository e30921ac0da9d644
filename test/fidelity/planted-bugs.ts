// Every *never* of the data plane, the guard that keeps it, and the tests that see it gone.

/** One guard, taken out by an edit. */
export type PlantedBug = {
  /** What must never be. */
  never: string
  file: string
  /** Stands there exactly once. */
  from: string
  to: string
  /** A test file, and the name of what must fail there. */
  test: string
  only: string
}

const SESSION = 'gateway/session'
const EXECUTE = 'pooler/execute'

/** The most dangerous first: a short run gets no further than its time. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    never: 'a cancel hits the next client of a backend',
    file: `${EXECUTE}/executor.ts`,
    from: 'if (backend.cancels > 0) {',
    to: 'if (backend.cancels < 0) {',
    test: 'test/pooler/endings.test.ts',
    only: 'never hits the next query',
  },
  {
    never: 'an unnamed statement is another client’s',
    file: `${SESSION}/extended.ts`,
    from: 'if (this.#place.holds(unnamed)) return false',
    to: 'if (this.#place.holds(unnamed) || unnamed === undefined) return false',
    test: 'test/gateway/prepared.test.ts',
    only: 'the unnamed statement is nobody else',
  },
  {
    never: 'a batch runs where its settings could not be made',
    file: 'pooler/settings/hand-over.ts',
    from: 'this.#error = errorIn(bytes, start, Math.min(end, start + ERROR_BYTES_MAX))',
    to: 'void errorIn(bytes, start, Math.min(end, start + ERROR_BYTES_MAX))',
    test: 'test/pooler/settings.test.ts',
    only: 'a role that is gone fails the batch',
  },
  {
    never: 'a custom name is known to who never set it',
    file: `${EXECUTE}/session-state.ts`,
    from: 'if (!this.settings.customs.has(name) && !this.#defines.has(name)) return false',
    to: 'if (name === this.settings.json) return false',
    test: 'test/pooler/settings.test.ts',
    only: 'are never seen by a session that did not set them',
  },
  {
    never: 'a temporary table is seen by the next session',
    file: `${EXECUTE}/session-state.ts`,
    from: 'this.pins = (this.pins & ~request.pins) | answer.pins',
    to: 'this.pins &= ~request.pins',
    test: 'test/pooler/pins.test.ts',
    only: 'ends with',
  },
  {
    never: 'a temporary table that a function made is',
    file: `${SESSION}/sender.ts`,
    from: 'if (list.version === 0) return traits',
    to: 'if (list.version >= 0) return traits',
    test: 'test/watch/hidden-state.test.ts',
    only: '',
  },
  {
    never: 'currval and lastval tell another session’s value',
    file: `${EXECUTE}/session-state.ts`,
    from: 'return backend.sequencesOf !== this.number && backend.sequencesOf !== NO_SEQUENCES',
    to: 'return backend.sequencesOf === NO_SEQUENCES && this.number < 0',
    test: 'test/gateway/sequences.test.ts',
    only: '',
  },
  {
    never: 'what is made with pg_temp in the path is',
    file: `${SESSION}/ask-batch.ts`,
    from: 'if ((traits & Trait.MayWrite) !== 0 && core.reachesTemp) mask |= Pin.TempObjects',
    to: '',
    test: 'test/gateway/pins.test.ts',
    only: 'with pg_temp in its search_path',
  },
  {
    never: 'a literal is read under the settings of another session',
    file: `${SESSION}/shared-under.ts`,
    from: 'return `${since} ${settings.literals}@${vectorId}`',
    to: 'return `${since} ${settings.names}${vectorId < 0}`',
    test: 'test/gateway/settings.test.ts',
    only: 'a statement is shared',
  },
  {
    never: 'a literal is read again behind an error',
    file: 'pooler/backend/backend.ts',
    from: 'if (bytes.subarray(start, end).includes(sign)) this.forgetPrepared = true',
    to: 'if (sign.length > 0) this.forgetPrepared = true',
    test: 'test/gateway/prepared.test.ts',
    only: 'a literal means what it meant behind an error',
  },
  {
    never: 'a text is shared by sessions that mean other tables',
    file: `${SESSION}/shared-under.ts`,
    from: 'return `${since} ${settings.names}`',
    to: 'return since',
    test: 'test/gateway/settings.test.ts',
    only: 'a statement is shared',
  },
  {
    never: 'a commit that may have happened is offered for a retry',
    file: `${SESSION}/loss.ts`,
    from: 'if (sent && written) return Outcome.Unknown',
    to: 'if (sent && written && pinned) return Outcome.Unknown',
    test: 'test/gateway/loss.test.ts',
    only: 'a backend that is lost',
  },
  {
    never: 'a session goes on without its locks and temporary tables',
    file: `${SESSION}/loss.ts`,
    from: 'if (pinned) return Outcome.SessionLost',
    to: '',
    test: 'test/gateway/loss.test.ts',
    only: 'with a pin',
  },
  {
    never: 'a batch runs under another rule than its gateway believes',
    file: `${EXECUTE}/serving-gate.ts`,
    from: 'if (!same) return this.otherRule',
    to: '',
    test: 'test/pooler/endings.test.ts',
    only: 'of another term is refused',
  },
  {
    never: 'a leader under an older rule gets a query',
    file: 'gateway/poolers/router.ts',
    from: 'if (stale) continue',
    to: '',
    test: 'test/gateway/routing.test.ts',
    only: 'retires the old leader',
  },
  {
    never: 'a backend in a transaction is another session’s',
    file: `${EXECUTE}/stream.ts`,
    from: 'if (this.kept.pins !== 0 || status !== IDLE) return\n',
    to: 'if (this.kept.pins !== 0) return\n',
    test: 'test/pooler/batches.test.ts',
    only: '',
  },
  {
    never: 'a backend that still has something to say is another session’s',
    file: `${EXECUTE}/executor.ts`,
    from: 'else if (backend.unsettled) this.#proveQuiet(backend)',
    to: '',
    test: 'test/pooler/batches.test.ts',
    only: 'sends more than one batch as one',
  },
  {
    never: 'the answer to one batch is taken for that to the next',
    file: `${EXECUTE}/batch-end.ts`,
    from: 'this.#held = backend.forwarder.ambiguous',
    to: 'this.#held = false',
    test: 'test/gateway/copy-fails.test.ts',
    only: 'a Query behind the bad data of a COPY, via gateway',
  },
  {
    never: 'random() can be foretold by who had the backend before',
    file: `${EXECUTE}/clean-up.ts`,
    from: 'if ((pins & BEYOND_CLEANING) !== 0) return undefined',
    to: '',
    test: 'test/pooler/endings.test.ts',
    only: 'with a pin that cannot be undone',
  },
  {
    never: 'what a session held is left on its backend',
    file: `${EXECUTE}/clean-up.ts`,
    from: 'if (pins !== 0) statements.push(DISCARD_ALL)',
    to: 'void DISCARD_ALL',
    test: 'test/pooler/endings.test.ts',
    only: 'with a pin leaves a backend like new',
  },
  {
    never: 'a listener goes on that may have missed something',
    file: 'pooler/listen/listening.ts',
    from: 'this.#owner.terminate(missedNotifications(loss))',
    to: 'void missedNotifications(loss)',
    test: 'test/listen/loss.test.ts',
    only: 'when the shared connection is terminated',
  },
  {
    never: 'a client believes a setting that its backend does not have',
    file: `${SESSION}/downstream.ts`,
    from: 'return vector.changesFrom(told, splits ? OF_THE_NODE : undefined)',
    to: 'return NOTHING',
    test: 'test/gateway/life.test.ts',
    only: 'changes of reported values are told once',
  },
  {
    never: 'a name that EXECUTE made is known to who comes later',
    file: `${SESSION}/mentions.ts`,
    from: "const lasts = name.includes('.') ? Pin.NotCleanable : 0",
    to: 'const lasts = 0',
    test: 'test/gateway/hostile.test.ts',
    only: 'come later by EXECUTE',
  },
  {
    never: 'a backend holds statements that nobody counts',
    file: `${EXECUTE}/clean-up.ts`,
    from: 'if (this.#statements.includes(DISCARD_ALL)) this.#backend.prepared.gone()',
    to: 'this.#backend.prepared.gone()',
    test: 'test/pooler/prepared.test.ts',
    only: 'what a session that ends in a transaction leaves prepared',
  },
]
