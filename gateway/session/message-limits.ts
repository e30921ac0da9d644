import { Frontend } from '../../shared/pgwire/message-types.ts'

/**
 * Postgres's bounds on a message's length (postgres.c, PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_...).
 */
const SMALL_MESSAGE_BYTES = 10_000
const LARGE_MESSAGE_BYTES = 0x3fffffff - 1

/** Length that Postgres allows for each type; 0 for types that it does not know. */
export const LENGTH_MAX = new Uint32Array(256)
const LARGE = [
  Frontend.Query,
  Frontend.FunctionCall,
  Frontend.Parse,
  Frontend.Bind,
  Frontend.CopyData,
]
const SMALL = [
  Frontend.Close,
  Frontend.CopyDone,
  Frontend.CopyFail,
  Frontend.Describe,
  Frontend.Execute,
  Frontend.Flush,
  Frontend.Sync,
  Frontend.Terminate,
]
for (const type of LARGE) LENGTH_MAX[type] = LARGE_MESSAGE_BYTES
for (const type of SMALL) LENGTH_MAX[type] = SMALL_MESSAGE_BYTES
