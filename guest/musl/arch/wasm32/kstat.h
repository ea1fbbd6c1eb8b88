/* stat() and friends are made of statx: there is no kernel structure of their own. */
