/**
 * Resolves after `ms`: for what is paced or lasts a given time, as a client that thinks or a
 * process that is frozen. To wait for something is `until`.
 */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
