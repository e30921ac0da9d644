import type { Frontend } from '../support/frontend.ts'

/** What a client hears that is not let in; 'in' when it is. */
export async function refused(connecting: Promise<Frontend>): Promise<string> {
  try {
    await using _ = await connecting
    return 'in'
  } catch (error) {
    return (error as Error).message
  }
}
