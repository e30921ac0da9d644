import type { RequestOf } from './call-context.ts'
import type { Configuration } from './configuration.ts'
import { QuorumCallError } from './errors.ts'
import type { OneWayMethod } from './method.ts'

/** How a message to many is sent. */
export type MulticastOptions<Q> = {
  /**
   * `sent` waits until it has left for every node, which says nothing about its being read; `none`
   * returns at once, and what fails is nobody's business.
   */
  readonly wait?: 'sent' | 'none'
  readonly perNode?: RequestOf<Q>
  readonly epoch?: bigint
  readonly signal?: AbortSignal
}

/**
 * Tells every node what has no answer, in this turn. For hints, never for fences: nobody knows
 * whether it was read. @throws QuorumCallError SEND_FAILURE or ABORTED.
 */
export async function multicast<Q>(
  configuration: Configuration,
  method: OneWayMethod<Q>,
  message: Q,
  options: MulticastOptions<Q> = {},
): Promise<void> {
  const { wait = 'sent', perNode, epoch, signal } = options
  signal?.throwIfAborted()
  const nodeErrors = new Map<string, Error>()
  const sends: Promise<void>[] = []
  for (const node of configuration) {
    const own = perNode === undefined ? message : perNode(message, node)
    if (own === undefined) continue
    const sent = node.unicast(method, own, epoch === undefined ? {} : { epoch })
    sends.push(sent.catch((error: Error) => void nodeErrors.set(node.id, error)))
  }
  if (wait === 'none') return
  await untilAborted(Promise.all(sends), signal, () => outcome())
  if (nodeErrors.size > 0) throw new QuorumCallError('SEND_FAILURE', method.name, outcome())

  function outcome(): { nodeErrors: Map<string, Error>; received: number; required: number } {
    return { nodeErrors, received: sends.length - nodeErrors.size, required: sends.length }
  }

  async function untilAborted<T>(
    promise: Promise<T>,
    by: AbortSignal | undefined,
    where: typeof outcome,
  ): Promise<void> {
    if (by === undefined) return void (await promise)
    const aborted = Promise.withResolvers<never>()
    const abort = (): void => {
      const cause: unknown = by.reason
      aborted.reject(new QuorumCallError('ABORTED', method.name, where(), { cause }))
    }
    by.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([promise, aborted.promise])
    } finally {
      by.removeEventListener('abort', abort)
    }
  }
}
