// What currval and lastval answer on a backend is one session's, by its number (SessionState), or:
import { bind, close, execute, parse, sync } from '../../shared/pgwire/frontend.ts'

/** Nobody's: no batch has run since it was new, or cleaned. */
export const NO_SEQUENCES = -1
/** Nobody knows whose. */
export const ANY_SEQUENCES = 0

/** The unnamed statement and portal are the client's: these have a name of ours for a moment. */
const OURS = 'mg:!sequences'

/** Makes the backend know of no sequence; at rest and in a transaction. */
export const DISCARD_SEQUENCES = Buffer.concat([
  close({ statement: OURS }),
  parse('DISCARD SEQUENCES', { name: OURS }),
  bind({ portal: OURS, statement: OURS }),
  execute({ portal: OURS }),
  close({ portal: OURS }),
  close({ statement: OURS }),
  sync(),
])
