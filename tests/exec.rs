//! `frontdesk env`, `frontdesk exec` and the intercepting proxy.
