"""Who gave which customers to whom: a ledger of every sharing and transfer, and transfers split among several users.

Sharing, unsharing and transferring themselves are core's. The plugin adds the even split of a bulk transfer, and
writes down every act however it came about: by core's mutations, an edited owner field, an import, a rule or an undo.
"""
