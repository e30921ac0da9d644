import { readyForQuery } from '../../shared/pgwire/backend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'

const IDLE = readyForQuery(TransactionStatus.Idle)
const IN_TRANSACTION = readyForQuery(TransactionStatus.InTransaction)
const FAILED = readyForQuery(TransactionStatus.Failed)

/** ReadyForQuery with that status byte; shared, not to be written to. */
export function ready(status: number): Buffer {
  if (status === TransactionStatus.Idle) return IDLE
  return status === TransactionStatus.Failed ? FAILED : IN_TRANSACTION
}
