import type { LinkConnection } from '../../shared/link/link-connection.ts'
import type { ParameterVector } from './parameter-vector.ts'

/**
 * What a pooler has said at a login: it accepts a session with what the question named, which
 * begins with `vector`. Good for as long as the connection lasts: where that changes, FAILED says
 * so.
 */
export type KnownSession = {
  readonly connection: LinkConnection
  readonly vector: ParameterVector
}
