// What clients did and what they were told, in the order of one monotonic clock. The checkers read
// nothing else, so that a planted anomaly is just another history.

/**
 * `failed`: told by an error that says so, it never takes effect. `unknown`: it may have, or may
 * still; it must not be gone again once somebody has read it.
 */
export type Outcome = 'ok' | 'failed' | 'unknown'

/** When it was sent, when its answer or its end was known, and by which client. */
export type Span = {
  readonly client: string
  readonly invokedMs: number
  readonly endedMs: number
}

/** One number put into the log of one writer, who counts upwards and never repeats one. */
export type LogWrite = Span & {
  readonly kind: 'write'
  readonly key: number
  readonly value: number
  readonly outcome: Outcome
}

/** The greatest numbers of one log, greatest first; `whole` when there are no others. */
export type LogRead = Span & {
  readonly kind: 'read'
  readonly key: number
  readonly values: readonly number[]
  readonly whole: boolean
}

/** One step of a transaction on lists. A `read` that got no answer has no values. */
export type ListStep =
  | { readonly kind: 'append'; readonly key: number; readonly value: number }
  | { readonly kind: 'read'; readonly key: number; readonly values: readonly number[] | undefined }

/** A transaction at SERIALIZABLE. Each value is appended once in the whole history. */
export type ListTransaction = Span & {
  readonly kind: 'lists'
  readonly steps: readonly ListStep[]
  readonly outcome: Outcome
}

/** Money moved, with a row of its own that tells so. */
export type Transfer = Span & {
  readonly kind: 'transfer'
  readonly id: string
  readonly outcome: Outcome
}

/** All accounts in one snapshot. */
export type Audit = Span & {
  readonly kind: 'audit'
  readonly total: number
  /** The greatest difference between an account and what its transfers say. */
  readonly off: number
  readonly transfers: ReadonlySet<string>
}

/** Anything that a client may have done. */
export type Operation = LogWrite | LogRead | ListTransaction | Transfer | Audit

/** What a checker found; `what` is one of few words, for counting. */
export type Anomaly = { readonly what: string; readonly detail: string }

/** Operations of one kind. */
export function ofKind<K extends Operation['kind']>(
  history: readonly Operation[],
  kind: K,
): Extract<Operation, { kind: K }>[] {
  return history.filter((operation) => operation.kind === kind) as Extract<Operation, { kind: K }>[]
}
