import { StartupError, type Frontend } from '../support/frontend.ts'

/** Severity, SQLSTATE and message that a login is refused with; 'let in' when it is not. */
export async function refusalOf(login: Promise<Frontend>): Promise<string> {
  try {
    await using _frontend = await login
    return 'let in'
  } catch (error) {
    if (error instanceof StartupError) return error.message
    throw error
  }
}
