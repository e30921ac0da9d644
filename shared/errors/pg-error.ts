import { Code } from './grpc-code.ts'

/**
 * Condition -> what a pgwire frontend and a gRPC peer each see. Names and SQLSTATEs are Postgres's
 * own; which gRPC code goes with each is ours to rule.
 * Source: PostgreSQL manual, appendix "PostgreSQL Error Codes".
 */
export const CONDITIONS = {
  connection_failure: { sqlstate: '08006', code: Code.UNAVAILABLE },
  transaction_resolution_unknown: { sqlstate: '08007', code: Code.UNKNOWN },
  protocol_violation: { sqlstate: '08P01', code: Code.INVALID_ARGUMENT },
  feature_not_supported: { sqlstate: '0A000', code: Code.UNIMPLEMENTED },
  character_not_in_repertoire: { sqlstate: '22021', code: Code.INVALID_ARGUMENT },
  invalid_parameter_value: { sqlstate: '22023', code: Code.INVALID_ARGUMENT },
  in_failed_sql_transaction: { sqlstate: '25P02', code: Code.FAILED_PRECONDITION },
  invalid_sql_statement_name: { sqlstate: '26000', code: Code.NOT_FOUND },
  invalid_authorization_specification: { sqlstate: '28000', code: Code.UNAUTHENTICATED },
  invalid_password: { sqlstate: '28P01', code: Code.UNAUTHENTICATED },
  invalid_catalog_name: { sqlstate: '3D000', code: Code.NOT_FOUND },
  invalid_cursor_name: { sqlstate: '34000', code: Code.NOT_FOUND },
  serialization_failure: { sqlstate: '40001', code: Code.ABORTED },
  statement_completion_unknown: { sqlstate: '40003', code: Code.UNKNOWN },
  insufficient_privilege: { sqlstate: '42501', code: Code.PERMISSION_DENIED },
  syntax_error: { sqlstate: '42601', code: Code.INVALID_ARGUMENT },
  undefined_object: { sqlstate: '42704', code: Code.NOT_FOUND },
  duplicate_prepared_statement: { sqlstate: '42P05', code: Code.ALREADY_EXISTS },
  disk_full: { sqlstate: '53100', code: Code.RESOURCE_EXHAUSTED },
  too_many_connections: { sqlstate: '53300', code: Code.RESOURCE_EXHAUSTED },
  configuration_limit_exceeded: { sqlstate: '53400', code: Code.RESOURCE_EXHAUSTED },
  program_limit_exceeded: { sqlstate: '54000', code: Code.RESOURCE_EXHAUSTED },
  object_not_in_prerequisite_state: { sqlstate: '55000', code: Code.FAILED_PRECONDITION },
  query_canceled: { sqlstate: '57014', code: Code.CANCELLED },
  admin_shutdown: { sqlstate: '57P01', code: Code.UNAVAILABLE },
  crash_shutdown: { sqlstate: '57P02', code: Code.UNAVAILABLE },
  cannot_connect_now: { sqlstate: '57P03', code: Code.UNAVAILABLE },
  idle_session_timeout: { sqlstate: '57P05', code: Code.UNAVAILABLE },
  io_error: { sqlstate: '58030', code: Code.INTERNAL },
  undefined_file: { sqlstate: '58P01', code: Code.NOT_FOUND },
  internal_error: { sqlstate: 'XX000', code: Code.INTERNAL },
  data_corrupted: { sqlstate: 'XX001', code: Code.DATA_LOSS },
} as const satisfies Record<string, { sqlstate: string; code: Code }>
export type Condition = keyof typeof CONDITIONS

/** What an error carries beside its condition and message. */
export type PgErrorOptions = ErrorOptions & {
  severity?: 'ERROR' | 'FATAL'
  detail?: string
  hint?: string
  beforeExecution?: boolean
}

/**
 * An error this system raises itself. One a backend sent is relayed as the bytes it came in, never
 * rebuilt as a PgError. Code branches on `condition`; the message is for people.
 */
export class PgError extends Error {
  override readonly name = 'PgError'
  readonly condition: Condition
  readonly sqlstate: string
  readonly code: Code
  readonly severity: 'ERROR' | 'FATAL'
  readonly detail: string | undefined
  readonly hint: string | undefined
  /** True only when no byte of the statement reached a backend, so retrying cannot run it twice. */
  readonly beforeExecution: boolean

  constructor(condition: Condition, message: string, options: PgErrorOptions = {}) {
    super(message, options)
    const { sqlstate, code } = CONDITIONS[condition]
    this.condition = condition
    this.sqlstate = sqlstate
    this.code = code
    this.severity = options.severity ?? 'ERROR'
    this.detail = options.detail
    this.hint = options.hint
    this.beforeExecution = options.beforeExecution ?? false
  }
}
