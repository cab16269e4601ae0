/** `new (require('skep/express-session')(session))({ name?, ttl? })`: a store for express-session. */
declare function connect (session: any): new (options?: { name?: string, ttl?: number | string }) => any
export = connect
