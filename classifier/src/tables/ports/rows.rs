//! Rows: outcomes by service class, in one of two forms.
//!
//! ```text
//! direct  row of the cell [service]: the outcome
//! shaped  cell ──► shape, list        shape[service / 32] ──► block[service % 32] ──► index ──► list[index]: the outcome
//! ```
//!
//! A *shape* says which of a cell's outcomes each service class has, and not what they are: cells whose rules have the
//! same services in the same order share it, whoever the rules are. Shapes share their blocks in turn. Shaped rows
//! take a tenth of the memory, and three loads more.

use crate::endpoint::ServicePacket;

/// What a cell is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct RowCell {
    /// Its first block in [`ShapedRows::shapes`].
    pub(crate) shape: u32,
    /// Its first outcome in [`ShapedRows::outcomes`].
    pub(crate) list: u32,
}

/// The index of the outcome of each of some service classes, in the list of the cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(64))]
pub(crate) struct Block(pub(crate) [u16; Block::LEN]);

const _: () = assert!(size_of::<Block>() == 64);

impl Block {
    /// Service classes in a block.
    pub(crate) const LEN: usize = 32;
}

/// A row for each cell.
#[derive(Clone, Debug)]
pub(crate) struct DirectRows {
    /// How many service classes there are.
    pub(crate) width: u32,
    /// `cell * width + service class` → outcome.
    pub(crate) rows: Vec<u16>,
}

impl DirectRows {
    /// Where the outcome of a service class in a cell is.
    #[inline(always)]
    pub(crate) fn position(&self, cell: u32, service: u32) -> u32 {
        cell * self.width + service
    }
}

/// Rows that share what they can.
#[derive(Clone, Debug)]
pub(crate) struct ShapedRows {
    /// The cells.
    pub(crate) cells: Vec<RowCell>,
    /// Blocks of the shapes, one shape behind the other.
    pub(crate) shapes: Vec<u32>,
    /// The blocks.
    pub(crate) blocks: Vec<Block>,
    /// Low 16 bits of the outcomes of the lists, one list behind the other.
    pub(crate) outcomes: Vec<u16>,
    /// Upper bits of those, where there are more than 65,536.
    pub(crate) upper: Option<Vec<u16>>,
}

impl ShapedRows {
    /// Where the block of a service class is, in `shapes`, and where the outcomes of the cell begin.
    #[inline(always)]
    pub(crate) fn in_cell(&self, cell: u32, service: u32) -> (u32, u32) {
        let RowCell { shape, list } = self.cells[cell as usize];
        (shape + service / Block::LEN as u32, list)
    }

    /// The outcome at a position of `outcomes`.
    #[inline(always)]
    pub(crate) fn outcome_at(&self, at: u32) -> u32 {
        let upper = self.upper.as_ref().map_or(0, |upper| u32::from(upper[at as usize]) << 16);
        u32::from(self.outcomes[at as usize]) | upper
    }
}

/// The rows of all cells.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// Where they are small enough.
    Direct(DirectRows),
    /// Elsewhere.
    Shaped(ShapedRows),
}

/// Cells as rows.
#[derive(Clone, Debug)]
pub(crate) struct PortRows {
    /// By protocol: `class * (classes of source ports) * (classes of destination ports)`.
    pub(crate) protocols: Box<[u32; 256]>,
    /// By source port: `class * (classes of destination ports)`; empty where no rule names one.
    pub(crate) sources: Vec<u16>,
    /// By destination port: the class.
    pub(crate) destinations: Vec<u16>,
    /// Sum of the three → service class.
    pub(crate) services: Vec<u16>,
    /// The rows.
    pub(crate) rows: Rows,
}

impl PortRows {
    /// The index of a packet in `services`.
    #[inline(always)]
    pub(crate) fn index(&self, packet: ServicePacket) -> u32 {
        let source = match self.sources.get(usize::from(packet.source_port)) {
            Some(class) => u32::from(*class),
            None => 0,
        };
        let destination = u32::from(self.destinations[usize::from(packet.destination_port)]);
        self.protocols[usize::from(packet.protocol)] + source + destination
    }

    /// The service class of a packet.
    #[inline(always)]
    pub(crate) fn service(&self, packet: ServicePacket) -> u32 {
        u32::from(self.services[self.index(packet) as usize])
    }

    /// The outcome of a service class in a cell.
    #[inline(always)]
    pub(crate) fn outcome(&self, cell: u32, service: u32) -> u32 {
        match &self.rows {
            Rows::Direct(direct) => u32::from(direct.rows[direct.position(cell, service) as usize]),
            Rows::Shaped(shaped) => {
                let (at, list) = shaped.in_cell(cell, service);
                let block = &shaped.blocks[shaped.shapes[at as usize] as usize];
                shaped.outcome_at(list + u32::from(block.0[service as usize % Block::LEN]))
            }
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        match &self.rows {
            Rows::Direct(direct) => direct.rows.len() / direct.width as usize,
            Rows::Shaped(shaped) => shaped.cells.len(),
        }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let rows = match &self.rows {
            Rows::Direct(direct) => direct.rows.len() * 2,
            Rows::Shaped(shaped) => {
                let outcomes = shaped.outcomes.len() + shaped.upper.as_ref().map_or(0, Vec::len);
                shaped.cells.len() * size_of::<RowCell>()
                    + shaped.shapes.len() * 4
                    + shaped.blocks.len() * size_of::<Block>()
                    + outcomes * 2
            }
        };
        1024 + (self.sources.len() + self.destinations.len() + self.services.len()) * 2 + rows
    }
}
