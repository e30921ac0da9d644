/**
 * What came of a call on one node. One of a failed node has no value, so that none can be taken for
 * an answer.
 */
export type NodeResponse<T> =
  | { readonly nodeId: string; readonly kind: 'value'; readonly value: T }
  | { readonly nodeId: string; readonly kind: 'error'; readonly error: Error }
  /** It was not asked: there was no request for it. */
  | { readonly nodeId: string; readonly kind: 'skipped' }

/** A good answer. */
export type NodeValue<T> = Extract<NodeResponse<T>, { kind: 'value' }>
