/**
 * What `promise` is rejected with. (bun-types says that `expect(...).rejects` is no promise, so the
 * linter wants it not awaited, and what is not awaited is not checked.)
 * @throws Error when it is fulfilled.
 */
export async function failureOf(promise: Promise<unknown>): Promise<Error> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error as Error
  }
  throw new Error(`expected a failure, got ${Bun.inspect(value)}`)
}
