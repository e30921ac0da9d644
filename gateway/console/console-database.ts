/** The name of the console, as a client's database. */
export const CONSOLE_DATABASE = 'multigres'
